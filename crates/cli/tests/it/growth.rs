//! Tables that grow, in small: `cargo xtask bench --stored` does the same at length, with a release build.

use std::path::PathBuf;

use bench::stored::{self, Plan};

const EVENTS: usize = 2_000;

fn grows(postgres: Option<String>) {
    let plan = Plan {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_quittance")),
        scratch: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        events: EVENTS,
        connections: 16,
        seed: 20_261_121,
        postgres,
    };
    // Itself it fails where anything is refused, lost or not applied, or a list is no list.
    let stored = stored::run(&plan, &mut |row| println!("{row}")).unwrap_or_else(|error| panic!("{error:#}"));
    let counts: Vec<usize> = stored.looks.iter().map(|look| look.stored).collect();
    assert_eq!(counts, (1..=10).map(|tenth| EVENTS * tenth / 10).collect::<Vec<_>>());
    let (first, last) = (&stored.looks[0], &stored.looks[9]);
    assert!(last.size > first.size, "{}", stored.markdown());
    assert!(stored.looks.iter().all(|look| look.accepted > 0.0 && look.lists.iter().all(|took| *took > 0.0)));
}

#[test]
fn tables_grow_on_sqlite() {
    grows(None);
}

#[test]
fn tables_grow_on_postgres() {
    let url = std::env::var("QUITTANCE_POSTGRES").expect("run `cargo xtask test`, or set QUITTANCE_POSTGRES");
    grows(Some(url));
}
