//! Ids that look and sort like Stripe's.

use domain::Timestamp;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Where the five digits of time in an id count from; found by comparing recorded
/// ids with the `created` beside them.
const EPOCH_SECONDS: i64 = 1_342_389_380;

const TIME_DIGITS: usize = 5;
const TAIL_DIGITS: usize = 7;
const TAILS: u64 = 62_u64.pow(TAIL_DIGITS as u32);

/// Shares no factor with [`TAILS`] (2 and 31 only), so that multiples of it pass
/// through every tail before one repeats.
const TAIL_STEP: u64 = 2_654_435_761;

#[derive(Debug)]
pub(super) struct Ids {
    rng: fastrand::Rng,
    account: String,
    next_tail: u64,
}

impl Ids {
    pub(super) fn new(rng: &mut fastrand::Rng) -> Self {
        let mut rng = rng.fork();
        let account = random(&mut rng, 10);
        let next_tail = rng.u64(..TAILS);
        Self { rng, account, next_tail }
    }

    /// `pi_3…` and all that belongs to one payment: later ones sort after earlier
    /// ones, whatever made them. No two are the same.
    pub(super) fn of_payment(&mut self, prefix: &str, at: Timestamp) -> String {
        self.timed(prefix, '3', at)
    }

    /// `pm_1…`, `dp_1…`: objects that come without a payment.
    pub(super) fn alone(&mut self, prefix: &str, at: Timestamp) -> String {
        self.timed(prefix, '1', at)
    }

    /// `cus_…`, `req_…`: random all through. The prefix is the whole of what comes before.
    pub(super) fn random(&mut self, prefix: &str, digits: usize) -> String {
        format!("{prefix}{}", random(&mut self.rng, digits))
    }

    fn timed(&mut self, prefix: &str, kind: char, at: Timestamp) -> String {
        let seconds = at.seconds().saturating_sub(EPOCH_SECONDS).max(0).unsigned_abs();
        let time = base62(seconds, TIME_DIGITS);
        self.next_tail = (self.next_tail + TAIL_STEP) % TAILS;
        let shard = if self.rng.bool() { '1' } else { '0' };
        format!("{prefix}_{kind}{time}{}{shard}{}", self.account, base62(self.next_tail, TAIL_DIGITS))
    }
}

fn random(rng: &mut fastrand::Rng, digits: usize) -> String {
    (0..digits).map(|_| char::from(DIGITS[rng.usize(..DIGITS.len())])).collect()
}

/// The last so many digits.
fn base62(mut value: u64, digits: usize) -> String {
    let mut text = vec![b'0'; digits];
    for place in text.iter_mut().rev() {
        *place = DIGITS[(value % 62) as usize];
        value /= 62;
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_as_in_recorded_ids() {
        for (seconds, digits) in [(1_748_441_984, "RTkpY"), (1_684_068_464, "N7eKy")] {
            assert_eq!(base62((seconds - EPOCH_SECONDS).unsigned_abs(), TIME_DIGITS), digits);
        }
    }
}
