//! How much may come from whom. Nothing is kept about an endpoint without limits.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use domain::Timestamp;

/// So that two addresses seldom wait for one another.
const SHARDS: usize = 16;
/// What is remembered at most, over all shards 65,536 buckets. Beyond that strangers
/// share one bucket, so that nobody fills the memory by changing addresses.
const BUCKETS_A_SHARD_MAX: usize = 4096;
const NANOS_A_SECOND: i64 = 1_000_000_000;

/// How often something may happen in the long run, and how often at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two, in the long run.
    interval_nanos: i64,
    burst: u32,
}

impl Rate {
    /// `burst` may come at once.
    pub const fn a_second(number: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { interval_nanos: NANOS_A_SECOND / number.get() as i64, burst: burst.get() }
    }

    /// All of a minute's may come at once. None at all where `number` is zero.
    pub const fn a_minute(number: u32) -> Self {
        let share = if number == 0 { 1 } else { number as i64 };
        Self { interval_nanos: 60 * NANOS_A_SECOND / share, burst: number }
    }

    /// How far ahead of time the bucket may get.
    const fn window_nanos(self) -> i64 {
        self.interval_nanos.saturating_mul(self.burst as i64)
    }
}

/// Too many came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// One at least.
    pub retry_after_seconds: u64,
}

/// Those buckets whose hashes fall together.
#[derive(Debug, Default)]
struct Shard {
    /// By the hash of what is limited: when its bucket is empty again, in nanoseconds
    /// since the epoch. A bucket whose time has come is as good as none.
    buckets: HashMap<u64, i64>,
    /// When to look for empty ones again, so that strangers cannot cause it at will.
    look_at: i64,
}

/// Where strangers are counted when there is no room for them.
const SHARED: u64 = 0;

impl Shard {
    /// The bucket that counts for `key`; those that are empty make room for new ones.
    fn place(&mut self, key: u64, now: i64) -> u64 {
        let full = |buckets: &HashMap<u64, i64>| buckets.len() >= BUCKETS_A_SHARD_MAX;
        if !full(&self.buckets) || self.buckets.contains_key(&key) {
            return key;
        }
        if now >= self.look_at || self.look_at > now.saturating_add(NANOS_A_SECOND) {
            self.buckets.retain(|_, empty_at| *empty_at > now);
            self.look_at = now.saturating_add(NANOS_A_SECOND);
        }
        if full(&self.buckets) { SHARED } else { key }
    }
}

/// Token buckets, as the generic cell rate algorithm keeps them: one number each.
/// <https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm>
#[derive(Debug, Default)]
pub struct Limiter {
    /// Its keys are random, so that nobody can choose to share another's bucket.
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

impl Limiter {
    /// Counts one more of `what`, unless it is one too many.
    pub fn take(&self, what: impl Hash, rate: Rate, now: Timestamp) -> Result<(), TooMany> {
        let key = self.hasher.hash_one(what);
        let now = now.micros().saturating_mul(1000);
        let window = rate.window_nanos();
        let mut shard = self.shards[key as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        let key = shard.place(key, now);
        // A clock that was set back must not shut anybody out for longer than a window.
        let empty_at = shard.buckets.get(&key).map_or(now, |at| (*at).clamp(now, now.saturating_add(window)));
        let next = empty_at.saturating_add(rate.interval_nanos);
        let excess = next.saturating_sub(now).saturating_sub(window);
        if excess > 0 {
            shard.buckets.insert(key, empty_at);
            let seconds = (excess as u64).div_ceil(NANOS_A_SECOND as u64);
            return Err(TooMany { retry_after_seconds: seconds.max(1) });
        }
        shard.buckets.insert(key, next);
        Ok(())
    }
}

/// What counts as one sender. Who has an IPv6 address has 2^64 of them.
pub fn sender(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

/// Lets a line through now and then, and counts what it kept back.
#[derive(Debug)]
pub struct Throttle {
    /// When all of the burst is there again, in microseconds since the epoch.
    full_at: AtomicI64,
    kept_back: AtomicU64,
    burst: i64,
}

/// Between two lines of a kind that a stranger can cause at will.
const LINE_INTERVAL_MICROS: i64 = 10 * 1_000_000;

impl Default for Throttle {
    /// One line at a time.
    fn default() -> Self {
        Self::with_burst(1)
    }
}

impl Throttle {
    /// So many lines may come at once.
    pub fn with_burst(burst: u32) -> Self {
        Self { full_at: AtomicI64::default(), kept_back: AtomicU64::default(), burst: i64::from(burst) }
    }

    /// How many were kept back since the last line, if it is time for one.
    pub fn pass(&self, now: Timestamp) -> Option<u64> {
        let now = now.micros();
        let latest = now.saturating_add(LINE_INTERVAL_MICROS.saturating_mul(self.burst));
        let one_more = |full_at: i64| {
            // A clock that was set back must not silence anything for long.
            let full_at = if full_at > latest { now } else { full_at.max(now) };
            Some(full_at.saturating_add(LINE_INTERVAL_MICROS)).filter(|next| *next <= latest)
        };
        if self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok() {
            return Some(self.kept_back.swap(0, Ordering::Relaxed));
        }
        self.kept_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_763_654_400);

    fn rate(number: u32, burst: u32) -> Rate {
        Rate::a_second(NonZeroU32::new(number).unwrap(), NonZeroU32::new(burst).unwrap())
    }

    /// How many of `tries` pass.
    fn passed(limiter: &Limiter, what: &str, rate: Rate, now: Timestamp, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(limiter.take(what, rate, now).is_ok())).sum()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = Limiter::default();
        let after = |millis: i64| START.plus_micros(millis * 1000);
        for (millis, passes) in [(0, 5), (0, 0), (99, 0), (100, 1), (350, 2), (10_000, 5), (10_000, 0)] {
            assert_eq!(passed(&limiter, "a", rate(10, 5), after(millis), 20), passes, "after {millis} ms");
        }
        assert_eq!(passed(&limiter, "b", rate(10, 5), after(10_000), 20), 5, "another has its own");
    }

    #[test]
    fn it_says_when_to_come_again() {
        let limiter = Limiter::default();
        let a_minute = Rate::a_minute(6);
        assert_eq!(passed(&limiter, "a", a_minute, START, 10), 6);
        assert_eq!(limiter.take("a", a_minute, START), Err(TooMany { retry_after_seconds: 10 }));
        let later = START.plus_micros(9_500_000);
        assert_eq!(limiter.take("a", a_minute, later), Err(TooMany { retry_after_seconds: 1 }));
        assert_eq!(limiter.take("a", a_minute, START.plus_micros(10_000_000)), Ok(()));
        assert!(limiter.take("b", Rate::a_minute(0), START).is_err(), "none is none");
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out_for_long() {
        let limiter = Limiter::default();
        let earlier = START.plus_micros(-3_600 * 1_000_000);
        assert_eq!(passed(&limiter, "a", rate(1, 5), START, 10), 5);
        assert_eq!(passed(&limiter, "a", rate(1, 5), earlier, 10), 0);
        assert_eq!(passed(&limiter, "a", rate(1, 5), earlier.plus_micros(5_000_000), 10), 5);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_those_who_are_known_keep_their_buckets() {
        let limiter = Limiter::default();
        let len = || limiter.shards.iter().map(|shard| shard.lock().unwrap().buckets.len()).sum::<usize>();
        let slow = rate(1, 1);
        assert!(limiter.take("known", slow, START).is_ok());
        let mut refused = 0;
        for stranger in 0..200_000_u32 {
            refused += u32::from(limiter.take(stranger, slow, START).is_err());
        }
        assert!(len() <= SHARDS * (BUCKETS_A_SHARD_MAX + 1), "{}", len());
        assert!(refused > 100_000, "those who find no room share a bucket: {refused}");
        assert!(limiter.take("known", slow, START).is_err());
        let later = START.plus_micros(10_000_000);
        for stranger in 0..1000_u32 {
            assert!(limiter.take(("new", stranger), slow, later).is_ok(), "empty buckets make room");
        }
    }

    #[test]
    fn addresses_of_one_sender_are_one() {
        for (address, of) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
        ] {
            assert_eq!(sender(address.parse().unwrap()), of.parse::<IpAddr>().unwrap(), "{address}");
        }
    }

    #[test]
    fn lines_pass_now_and_then_and_none_is_forgotten() {
        let throttle = Throttle::default();
        let passes: Vec<Option<u64>> =
            [0, 1, 5, 10, 11, 30].map(|seconds| throttle.pass(START.plus_micros(seconds * 1_000_000))).to_vec();
        assert_eq!(passes, [Some(0), None, None, Some(2), None, Some(1)]);
        let set_back = START.plus_micros(-3_600 * 1_000_000);
        assert_eq!(throttle.pass(set_back), Some(0));
    }

    #[test]
    fn the_first_lines_pass_at_once() {
        let throttle = Throttle::with_burst(3);
        let passes: Vec<Option<u64>> =
            [0, 0, 0, 0, 9, 10, 10, 60].map(|seconds| throttle.pass(START.plus_micros(seconds * 1_000_000))).to_vec();
        assert_eq!(passes, [Some(0), Some(0), Some(0), None, None, Some(2), None, Some(1)]);
    }
}
