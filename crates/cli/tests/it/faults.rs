//! What goes wrong in production, in small: `cargo xtask faults` does the same at length, with a release build.

use std::path::PathBuf;
use std::time::Duration;

use bench::faults::{self, Fault, Plan, Verdict};
use xtask::postgres::Settings;

/// Held on every database that this machine can have the fault on.
fn is_withstood(fault: Fault) {
    let plan = Plan {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_quittance")),
        // Under `target`: what fails is kept there.
        scratch: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        faults: vec![fault],
        duration: Duration::from_secs(4),
        per_second: 300.0,
        connections: 8,
        seed: 20_261_121,
        postgres: Settings::scratch(),
    };
    let results = faults::run(&plan, &mut |row| println!("{row}")).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(results.held(), "{}", results.markdown());
    let held: Vec<_> = results.faults.iter().filter(|row| row.verdict == Verdict::Held).collect();
    assert!(!held.is_empty(), "{}", results.markdown());
    for row in held {
        // Otherwise there was no load, and nothing is proved.
        assert_eq!((row.acknowledged, row.applied, row.lost, row.doubled), (1_200, 1_200, 0, 0), "{row}");
    }
}

#[test]
fn a_replica_that_is_killed_loses_nothing() {
    is_withstood(Fault::ReplicaKilled);
}

#[test]
fn a_database_that_is_killed_is_found_again() {
    is_withstood(Fault::PostgresKilled);
}

#[test]
fn a_standby_that_takes_over_is_found() {
    is_withstood(Fault::Failover);
}

#[test]
fn a_connection_that_breaks_at_a_commit_doubles_nothing() {
    is_withstood(Fault::CommitCut);
}

#[test]
fn a_full_disk_is_said_and_survived() {
    is_withstood(Fault::DiskFull);
}

#[test]
fn a_clock_that_jumps_holds_nothing_up() {
    is_withstood(Fault::ClockJumps);
}

#[test]
fn broken_rows_hold_up_only_what_is_about_them() {
    is_withstood(Fault::Poison);
}
