//! `kill -9` in the middle of load. The ledger of what was acknowledged is kept here,
//! and `cargo xtask soak` runs as many rounds as asked.

use std::path::PathBuf;

use bench::crash::{self, Plan};

#[test]
fn nothing_acknowledged_is_lost_or_applied_twice_in_20_rounds_of_kill_9() {
    rounds(20, false);
}

#[test]
fn nor_in_10_rounds_on_postgresql() {
    rounds(10, true);
}

fn rounds(count: u32, postgres: bool) {
    let plan = Plan {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_quittance")),
        // Under `target`: a round that fails is kept there.
        scratch: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        rounds: count,
        postgres,
        events: 800,
        connections: 16,
        seed: 20_261_120,
    };
    let mut rounds = Vec::new();
    crash::run(&plan, |round| rounds.push(round.clone())).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(rounds.len(), count as usize);
    // Kills that hit nothing would prove nothing.
    let in_the_middle = rounds.iter().filter(|round| round.kills.iter().any(|kill| (1..round.events).contains(kill)));
    assert!(in_the_middle.count() >= count as usize / 2, "{rounds:?}");
    assert!(rounds.iter().any(|round| round.unanswered > 0), "{rounds:?}");
}
