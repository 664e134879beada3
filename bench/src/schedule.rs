//! When the requests of an open loop are due.
//!
//! A request is due at a fixed time, whatever became of the ones before it, and
//! its latency counts from that time: a server that stalls for a second is charged
//! that second for every request that was due in it (no coordinated omission).

use std::time::Duration;

/// Requests evenly spaced in time, the first at zero.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    per_second: f64,
}

impl Schedule {
    /// # Panics
    /// If the rate is not a positive, finite number.
    pub fn new(per_second: f64) -> Self {
        assert!(per_second.is_finite() && per_second > 0.0, "a rate is positive");
        Self { per_second }
    }

    /// When request `number` is due, after the start. Multiplied out rather than
    /// added up, so that no rounding error grows over a run.
    pub fn due(self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.per_second)
    }

    /// How many requests are due by then.
    pub fn due_by(self, elapsed: Duration) -> u64 {
        (elapsed.as_secs_f64() * self.per_second).floor() as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_evenly_spaced() {
        let schedule = Schedule::new(20_000.0);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_micros(50));
        assert_eq!(schedule.due(20_000), Duration::from_secs(1));
        assert_eq!(schedule.due(20_000 * 3600), Duration::from_secs(3600));
    }

    #[test]
    fn due_by_agrees_with_due() {
        for rate in [0.5, 3.0, 19_999.0, 40_000.0] {
            let schedule = Schedule::new(rate);
            for number in [0_u64, 1, 2, 7, 1_000, 123_456] {
                let just_after = schedule.due(number) + Duration::from_nanos(2);
                assert_eq!(schedule.due_by(just_after), number + 1, "request {number} at {rate}/s");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a rate is positive")]
    fn a_rate_of_nothing_is_refused() {
        Schedule::new(0.0);
    }
}
