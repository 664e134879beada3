//! When to try again.

/// After this many failed attempts an event is dead: kept, shown, replayable.
pub const ATTEMPTS_MAX: u32 = 12;

const FIRST_DELAY_MICROS: i64 = 500_000;
/// No retry is put off for longer.
pub const DELAY_MICROS_MAX: i64 = 15 * 60 * 1_000_000;

/// How long to wait after the `attempt`th failure (counted from 1), in
/// microseconds; `None` when it was the last. Doubles from half a second to a
/// quarter of an hour; `jitter` in 0..=1 takes off up to half, so that what
/// failed together does not come back together.
pub fn backoff_micros(attempt: u32, jitter: f64) -> Option<i64> {
    if attempt >= ATTEMPTS_MAX {
        return None;
    }
    let full = FIRST_DELAY_MICROS.saturating_mul(1_i64 << attempt.saturating_sub(1).min(32)).min(DELAY_MICROS_MAX);
    Some(full - (full as f64 / 2.0 * jitter.clamp(0.0, 1.0)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_end() {
        let delays: Vec<_> = (1..=ATTEMPTS_MAX).map(|attempt| backoff_micros(attempt, 0.0)).collect();
        assert_eq!(delays[..3], [Some(500_000), Some(1_000_000), Some(2_000_000)]);
        assert_eq!(delays[10], Some(512_000_000));
        assert_eq!(delays[11], None);
        assert_eq!(backoff_micros(1, 1.0), Some(250_000));
        assert_eq!(backoff_micros(1, f64::NAN), Some(500_000));
    }
}
