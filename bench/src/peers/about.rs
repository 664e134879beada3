//! What each request's event is about: what to look for once it was acknowledged.

use std::borrow::Cow;
use std::collections::HashSet;

use anyhow::Context;
use gateways::stripe::sample::Life;
use serde::Deserialize;

use crate::requests::Requests;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Intent,
    Charge,
    Refund,
    Dispute,
    Session,
    Reader,
}

/// Of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub kind: Kind,
    pub object_id: String,
    pub intent: String,
}

/// How many there are among some events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: usize,
    pub intents: usize,
    pub charges: usize,
    pub refunds: usize,
    pub disputes: usize,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: Object<'a>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    payment_intent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    action: Option<Action<'a>>,
}

#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow)]
    process_payment_intent: ReadersIntent<'a>,
}

#[derive(Deserialize)]
struct ReadersIntent<'a> {
    #[serde(borrow)]
    payment_intent: Cow<'a, str>,
}

impl Kind {
    fn of(event_type: &str) -> Option<Self> {
        // The longer ones first: refunds and disputes come as `charge.` too.
        let prefixes = [
            ("payment_intent.", Self::Intent),
            ("charge.refund.", Self::Refund),
            ("refund.", Self::Refund),
            ("charge.dispute.", Self::Dispute),
            ("charge.", Self::Charge),
            ("checkout.session.", Self::Session),
            ("terminal.reader.", Self::Reader),
        ];
        prefixes.iter().find(|(prefix, _)| event_type.starts_with(prefix)).map(|(_, kind)| *kind)
    }
}

/// By index of the request.
///
/// # Errors
/// When an event is none that the traffic has.
pub fn read(requests: &Requests) -> anyhow::Result<Vec<About>> {
    (0..u32::try_from(requests.len())?).map(|index| of(requests.body(index))).collect()
}

fn of(body: &[u8]) -> anyhow::Result<About> {
    let event: Event = serde_json::from_slice(body).context("the traffic has an event that is none")?;
    let kind = Kind::of(&event.event_type).with_context(|| format!("{} is of no kind", event.event_type))?;
    let object = event.data.object;
    let intent = match kind {
        Kind::Intent => Some(object.id.clone()),
        Kind::Reader => object.action.map(|action| action.process_payment_intent.payment_intent),
        Kind::Charge | Kind::Refund | Kind::Dispute | Kind::Session => object.payment_intent,
    };
    let intent = intent.with_context(|| format!("{} names no payment", event.event_type))?.into_owned();
    Ok(About { kind, object_id: object.id.into_owned(), intent })
}

/// What these events are about, each thing once.
pub fn counts(about: &[About], indices: &[u32]) -> Counts {
    let mut seen = HashSet::with_capacity(indices.len());
    let mut counts = Counts { events: indices.len(), ..Counts::default() };
    for About { kind, object_id, .. } in indices.iter().map(|index| &about[*index as usize]) {
        let count = match kind {
            Kind::Intent => &mut counts.intents,
            Kind::Charge => &mut counts.charges,
            Kind::Refund => &mut counts.refunds,
            Kind::Dispute => &mut counts.disputes,
            Kind::Session | Kind::Reader => continue,
        };
        if seen.insert(object_id.as_str()) {
            *count += 1;
        }
    }
    counts
}

/// Those payments of which every event is among these.
pub fn whole_lives<'a>(requests: &'a Requests, about: &[About], indices: &[u32]) -> Vec<&'a Life> {
    let mut is_sent = vec![false; about.len()];
    for index in indices {
        is_sent[*index as usize] = true;
    }
    let missing = about.iter().zip(is_sent).filter(|(_, is_sent)| !is_sent);
    let cut: HashSet<&str> = missing.map(|(about, _)| about.intent.as_str()).collect();
    requests.lives().iter().filter(|life| !cut.contains(life.payment_intent.as_str())).collect()
}

/// The events of at most so many payments of each kind of life, in the order in which they happened.
pub fn some_of_each_kind(requests: &Requests, about: &[About], payments_max: usize) -> Vec<u32> {
    let mut by_kind = std::collections::HashMap::new();
    let mut chosen = HashSet::new();
    for life in requests.lives() {
        let count: &mut usize = by_kind.entry(life.kind).or_default();
        if *count < payments_max {
            *count += 1;
            chosen.insert(life.payment_intent.as_str());
        }
    }
    (0..).zip(about).filter(|(_, about)| chosen.contains(about.intent.as_str())).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use gateways::stripe::sample::LifeKind;

    use super::*;

    const NOW_SECONDS: i64 = 1_780_000_000;

    #[test]
    fn what_is_counted_is_what_the_lives_have() {
        let requests = Requests::render(4_000, 3, NOW_SECONDS);
        let about = read(&requests).unwrap();
        let all: Vec<u32> = (0..4_000).collect();
        let of_kind = |kind: LifeKind| requests.lives().iter().filter(|life| life.kind == kind).count();
        let whole = whole_lives(&requests, &about, &all);
        assert_eq!(whole.len(), requests.lives().len());

        let intents: HashSet<&str> = whole.iter().map(|life| life.payment_intent.as_str()).collect();
        let of_whole: Vec<u32> =
            all.iter().copied().filter(|index| intents.contains(about[*index as usize].intent.as_str())).collect();
        let counted = counts(&about, &of_whole);
        assert_eq!(counted.events, of_whole.len());
        assert_eq!(counted.intents, whole.len());
        // Each of them has one; but two refunds, a charge for each attempt, none when canceled.
        let refunds =
            of_kind(LifeKind::FullRefund) + 2 * of_kind(LifeKind::PartialRefunds) + of_kind(LifeKind::RefundFails);
        assert_eq!(counted.refunds, refunds);
        assert_eq!(counted.disputes, of_kind(LifeKind::DisputeWon) + of_kind(LifeKind::DisputeLost));
        let charges = whole.len() + of_kind(LifeKind::FailThenSuccess) - of_kind(LifeKind::Canceled);
        assert_eq!(counted.charges, charges);
    }

    #[test]
    fn a_life_of_which_an_event_is_missing_is_not_whole() {
        let requests = Requests::render(2_000, 3, NOW_SECONDS);
        let about = read(&requests).unwrap();
        let cut = &requests.lives()[0].payment_intent;
        let last = about.iter().rposition(|about| about.intent == *cut).unwrap();
        let indices: Vec<u32> = (0..2_000).filter(|index| *index as usize != last).collect();
        let whole = whole_lives(&requests, &about, &indices);
        assert_eq!(whole.len(), requests.lives().len() - 1);
        assert!(whole.iter().all(|life| life.payment_intent != *cut));
    }

    #[test]
    fn some_of_each_kind_are_whole_lives_of_every_kind() {
        let requests = Requests::render(8_000, 3, NOW_SECONDS);
        let about = read(&requests).unwrap();
        let indices = some_of_each_kind(&requests, &about, 2);
        let whole = whole_lives(&requests, &about, &indices);
        assert_eq!(whole.len(), 2 * LifeKind::ALL.len());
        assert!(LifeKind::ALL.iter().all(|kind| whole.iter().filter(|life| life.kind == *kind).count() == 2));
        assert!(indices.is_sorted());
    }
}
