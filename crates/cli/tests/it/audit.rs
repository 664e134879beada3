//! `quittance rebuild --check` and `quittance audit verify`: what was changed by hand
//! is found.

use crate::shop::{PATH, SECRET, Shop, json_lines, python, said, sample};

const EDIT: &str = r#"
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
with database:
    changed = database.execute(sys.argv[2]).rowcount
assert changed == 1, changed
database.close()
"#;

/// A shop that was served and stopped, with two paid orders.
fn stocked() -> Shop {
    let shop = Shop::new();
    let server = shop.serve();
    for seed in [1, 2] {
        server.deliver(PATH, SECRET, &sample(seed, "payment_intent.succeeded").body);
    }
    server.applied();
    server.stop();
    shop
}

/// Changes one row.
fn edit(shop: &Shop, sql: &str) {
    said(&mut python(EDIT, &[&shop.path("quittance.db").display().to_string(), sql])).ok();
}

#[test]
fn untouched_state_and_chain_hold() {
    let shop = stocked();
    let rebuilt = shop.run(&["rebuild", "--check"]).exits(0);
    assert_eq!(rebuilt.stdout, "");
    assert_eq!(rebuilt.stderr, "2 events, 2 payments and 2 orders compared: 0 differences\n");
    let audited = shop.run(&["audit", "verify"]).ok();
    assert!(audited.starts_with("default: the chain of ") && audited.ends_with(" over 2 events holds\n"), "{audited}");
    let report = json_lines(&shop.run(&["audit", "verify", "--json"]).ok()).remove(0);
    assert_eq!((&report["account"], &report["report"]["events"]), (&"default".into(), &2.into()));
    shop.run(&["rebuild"]).exits(2);
}

#[test]
fn an_empty_database_has_no_chain_and_says_so() {
    let shop = Shop::new();
    shop.run(&["migrate"]).ok();
    let audited = shop.run(&["audit", "verify"]).exits(0);
    assert!(audited.stderr.contains("no events"), "{audited:?}");
    shop.run(&["rebuild", "--check"]).ok();
}

#[test]
fn a_row_edited_by_hand_is_a_difference() {
    for (sql, named) in [
        ("UPDATE payment SET status = 'failed' WHERE rowid = (SELECT min(rowid) FROM payment)", "payment pay_"),
        (
            "UPDATE payment SET amount_captured = amount_captured + 1 WHERE rowid = (SELECT max(rowid) FROM payment)",
            "payment pay_",
        ),
        ("DELETE FROM payment WHERE rowid = (SELECT max(rowid) FROM payment)", "payment pay_"),
        (
            "UPDATE merchant_order SET payment_status = 'pending' WHERE rowid = (SELECT min(rowid) FROM merchant_order)",
            "order ",
        ),
        ("DELETE FROM merchant_order WHERE rowid = (SELECT min(rowid) FROM merchant_order)", "order "),
    ] {
        let shop = stocked();
        edit(&shop, sql);
        let found = shop.run(&["rebuild", "--check"]).exits(1);
        assert!(found.stdout.lines().any(|line| line.starts_with(&format!("default {named}"))), "{sql}: {found:?}");
        assert!(
            found.stderr.ends_with("1 difference\n") || found.stderr.ends_with("2 differences\n"),
            "{sql}: {found:?}"
        );
        shop.run(&["audit", "verify"]).ok();
    }
}

#[test]
fn a_stored_event_edited_by_hand_breaks_the_chain() {
    for sql in [
        "UPDATE event_body SET body = CAST(replace(CAST(body AS TEXT), '\"livemode\": false', '\"livemode\": true ') AS BLOB) WHERE seq = 1",
        "UPDATE event_body SET body = CAST(body || x'20' AS BLOB) WHERE seq = 2",
        "UPDATE event SET event_id = 'evt_forged' WHERE seq = 1",
        "UPDATE event SET body_hash = zeroblob(32) WHERE seq = 2",
        "DELETE FROM event WHERE seq = 2",
        "UPDATE batch SET previous_hash = zeroblob(32) WHERE number = (SELECT max(number) FROM batch)",
    ] {
        let shop = stocked();
        edit(&shop, sql);
        let found = shop.run(&["audit", "verify"]).exits(1);
        assert!(found.stdout.lines().count() >= 2 && found.stdout.ends_with("is broken\n"), "{sql}: {found:?}");
        let report = json_lines(&shop.run(&["audit", "verify", "--json"]).exits(1).stdout).remove(0);
        assert!(!report["report"]["faults"].as_array().expect("a list").is_empty(), "{sql}: {report}");
    }
}
