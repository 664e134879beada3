//! `examples/five-systems.sh`, run as a reader of the README would run it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shop::{Said, Shop, said};

/// Every line that it prints, in order: what each of the five systems ended as.
const PRINTED: [&str; 21] = [
    "A. Point of sale: Stripe events, a reader, a refund",
    "  the same event again is a … duplicate (ok)",
    "  payment of 12.50 EUR, 2.50 given back, is … partially_refunded (ok)",
    "B. E-commerce: an order follows its payment",
    "  order 6735 is … paid (ok)",
    "  refunded in full, order 6735 is … refunded (ok)",
    "  its dispute is … open (ok)",
    "C. External payments: pending at another site, confirmed by its webhook",
    "  a stranger's signature is an … error (ok)",
    "  a payment that nobody registered is an … error (ok)",
    "  TXN-123456 completed: … Payment confirmed (ok)",
    "  order EXT-1 is … paid (ok)",
    "D. Bookings: two guests pay for the same days",
    "  booking 1 is … confirmed (ok)",
    "  booking 2: … Booking cancelled: dates no longer available (ok)",
    "E. Portal and payments microservice: an API key, two words",
    "  without the key it is an … error (ok)",
    "  completed: … Payment confirmed (ok)",
    "  failed after that changes nothing, order P-9 is … paid (ok)",
    "And whatever came in what order: state derived again from the events",
    "  rebuild --check finds the … same (ok)",
];

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/five-systems.sh")
}

on_each!(all_five_end_as_they_should);

fn run(shop: &Shop, quittance: &Path, edit: impl FnOnce(&mut Command)) -> Said {
    let mut command = Command::new("/bin/sh");
    command.arg(script()).current_dir(shop.path("")).env("QUITTANCE", quittance);
    if shop.database().is_postgres() {
        command.arg(shop.database().url());
    }
    edit(&mut command);
    said(&mut command)
}

fn all_five_end_as_they_should(shop: Shop) {
    for (program, version) in [("curl", "--version"), ("openssl", "version")] {
        let found = Command::new(program).arg(version).output().is_ok_and(|found| found.status.success());
        assert!(found, "{program} is missing: install it, the example needs it");
    }
    let said = run(&shop, Path::new(env!("CARGO_BIN_EXE_quittance")), |_| {}).exits(0);
    let printed: Vec<String> = said.stdout.lines().map(without_padding).collect();
    assert_eq!(printed, PRINTED, "{}", said.stderr);
    let triggered: Vec<&str> = said.stderr.lines().filter(|line| !line.starts_with("checkout.session.")).collect();
    assert_eq!(triggered, Vec::<&str>::new(), "nothing went wrong on the way");
}

#[test]
fn what_is_missing_is_one_line() {
    let empty = tempfile::tempdir().expect("a folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_quittance"));
    let shop = Shop::new();
    let no_curl = run(&shop, binary, |command| {
        command.env("PATH", empty.path());
    });
    let no_quittance = run(&shop, Path::new("/nowhere/quittance"), |_| {});
    for (said, missing) in [(no_curl, "curl"), (no_quittance, "/nowhere/quittance")] {
        let said = said.exits(1);
        assert_eq!((said.stdout.as_str(), said.stderr.lines().count()), ("", 1), "{}", said.stderr);
        assert!(said.stderr.contains(&format!("{missing} is missing")), "{}", said.stderr);
    }
}

/// A line of two columns, with what fills the first one up as `…`.
fn without_padding(line: &str) -> String {
    let (indent, text) = line.split_at(line.len() - line.trim_start().len());
    match text.split_once("  ") {
        Some((left, right)) => format!("{indent}{left} … {}", right.trim_start()),
        None => line.to_owned(),
    }
}
