//! What Quittance is measured and crash-tested with: a load generator, the ceiling
//! it is compared with, and the harness that kills the real binary under load.
//!
//! [`load::run`] drives any server; [`crash::run`] and [`compare::run`] start the
//! real `quittance` binary themselves. `cargo xtask bench` and `cargo xtask soak`
//! are these as commands.

pub mod ceiling;
pub mod check;
pub mod compare;
pub mod crash;
pub mod environment;
pub mod faults;
pub mod history;
pub mod load;
pub mod peers;
pub mod process;
pub mod quittance;
pub mod reply;
pub mod requests;
pub mod results;
pub mod schedule;
pub mod stored;
mod traffic;

/// Seconds of Unix time, for signatures: this machine's clock, as a gateway reads its own.
pub fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}
