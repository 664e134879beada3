//! Where the events come from: the lives of payments, interleaved, as `gateways` writes them.

use domain::Timestamp;
use gateways::stripe::sample::{Life, Sampler};
use gateways::{Secret, stripe};
use secrecy::SecretString;

pub(crate) fn secret(text: &str) -> Secret {
    Secret::from_text(&SecretString::from(text))
}

/// The value of `Stripe-Signature`.
pub(crate) fn signature(secret: &Secret, now_seconds: i64, body: &[u8]) -> String {
    stripe::sign(secret, Timestamp::from_seconds(now_seconds), body)
}

/// Payments that are under way at once: so far apart the events of one come.
const LIVES_OPEN: usize = 256;
/// By the gateway's clock, which its ids begin with: about as fast as they begin in a run at full load.
/// A gateway's ids grow with time, and those of one second are in no order.
const PAYMENTS_A_SECOND: i64 = 5_000;
/// The longest life takes three months by the gateway's clock; none ends in the future.
const LONGEST_LIFE_SECONDS: i64 = 100 * 86_400;

/// Hands over `count` events of the lives of payments, the lives mixed up with each
/// other and each one's events in order. Returns those lives that are whole, without
/// their events; the last few remain unfinished.
pub(crate) fn interleaved(count: usize, seed: u64, now_seconds: i64, mut take: impl FnMut(&str, &str)) -> Vec<Life> {
    let mut sampler = Sampler::new(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let start = now_seconds - LONGEST_LIFE_SECONDS;
    let mut begun = 0;
    let mut next_life = || {
        let mut life = sampler.any_life(Timestamp::from_seconds(start + begun / PAYMENTS_A_SECOND));
        begun += 1;
        let events = std::mem::take(&mut life.events).into_iter();
        (life, events)
    };
    let mut open: Vec<_> = (0..LIVES_OPEN).map(|_| next_life()).collect();
    let mut whole = Vec::new();
    for _ in 0..count {
        let (life, events) = &mut open[random.usize(..LIVES_OPEN)];
        let event = events.next().expect("a life that is over was replaced");
        take(&event.id, &event.body);
        if events.len() == 0 {
            let (next, its_events) = next_life();
            whole.push(std::mem::replace(life, next));
            *events = its_events;
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ids(count: usize, seed: u64) -> Vec<String> {
        let mut ids = Vec::new();
        interleaved(count, seed, 1_780_000_000, |id, _| ids.push(id.to_owned()));
        ids
    }

    #[test]
    fn event_ids_are_distinct_and_repeat_with_their_seed() {
        let first = ids(5_000, 1);
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 5_000);
        assert_eq!(ids(5_000, 1), first);
        assert!(ids(5_000, 2).iter().all(|id| !first.contains(id)), "another seed has other events");
    }
}
