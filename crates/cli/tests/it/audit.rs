//! `quittance rebuild` and `quittance audit`: what was changed by hand is found.

use std::process::Command;

use serde_json::Value;
use testdb::wait;

use crate::shop::{PATH, SECRET, Server, Shop, json_lines, said, sample};

on_each!(
    untouched_state_and_chain_hold,
    a_row_edited_by_hand_is_a_difference,
    a_stored_event_edited_by_hand_breaks_the_chain,
    an_empty_database_has_no_chain_and_says_so,
    removed_events_at_the_end_are_found_with_a_checkpoint_and_only_with_one,
    an_edited_checkpoint_is_found_where_there_is_a_key,
    checkpoints_can_be_printed_and_read_back_signed_or_not,
);

/// A shop that was served and stopped, with two paid orders.
fn stocked(shop: Shop) -> Shop {
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
    assert_eq!(wait(shop.database().execute(sql)), 1, "{sql}");
}

fn untouched_state_and_chain_hold(shop: Shop) {
    let shop = stocked(shop);
    let rebuilt = shop.run(&["rebuild", "--check"]).exits(0);
    assert_eq!(rebuilt.stdout, "");
    assert_eq!(rebuilt.stderr, "2 events, 2 payments and 2 orders compared: 0 differences\n");
    let audited = shop.run(&["audit", "verify"]).ok();
    assert!(audited.starts_with("default: the chain of ") && audited.ends_with(" over 2 events holds\n"), "{audited}");
    let report = json_lines(&shop.run(&["audit", "verify", "--json"]).ok()).remove(0);
    assert_eq!((&report["account"], &report["report"]["events"]), (&"default".into(), &2.into()));
    let rebuilt = shop.run(&["rebuild"]).exits(0);
    assert_eq!(rebuilt.stderr, "2 events, 2 payments and 2 orders compared: 0 differences put right\n");
}

fn an_empty_database_has_no_chain_and_says_so(shop: Shop) {
    shop.run(&["migrate"]).ok();
    let audited = shop.run(&["audit", "verify"]).exits(0);
    assert!(audited.stderr.contains("no events"), "{audited:?}");
    shop.run(&["rebuild", "--check"]).ok();
}

fn a_row_edited_by_hand_is_a_difference(first: Shop) {
    for (sql, named) in [
        ("UPDATE payment SET status = 'failed' WHERE id = (SELECT min(id) FROM payment)", "payment pay_"),
        (
            "UPDATE payment SET amount_captured = amount_captured + 1 WHERE id = (SELECT max(id) FROM payment)",
            "payment pay_",
        ),
        ("DELETE FROM payment WHERE id = (SELECT max(id) FROM payment)", "payment pay_"),
        (
            "UPDATE merchant_order SET payment_status = 'pending' WHERE rowid = (SELECT min(rowid) FROM merchant_order)",
            "order ",
        ),
        ("DELETE FROM merchant_order WHERE rowid = (SELECT min(rowid) FROM merchant_order)", "order "),
    ] {
        let shop = stocked(first.another());
        edit(&shop, sql);
        let found = shop.run(&["rebuild", "--check"]).exits(1);
        assert!(found.stdout.lines().any(|line| line.starts_with(&format!("default {named}"))), "{sql}: {found:?}");
        assert!(
            found.stderr.ends_with("1 difference\n") || found.stderr.ends_with("2 differences\n"),
            "{sql}: {found:?}"
        );
        shop.run(&["audit", "verify"]).ok();
        let rebuilt = shop.run(&["rebuild"]).exits(0);
        assert!(rebuilt.stdout.contains(named) && rebuilt.stderr.contains(" put right\n"), "{sql}: {rebuilt:?}");
        shop.run(&["rebuild", "--check"]).ok();
    }
}

fn a_stored_event_edited_by_hand_breaks_the_chain(first: Shop) {
    let edited = match first.database().is_postgres() {
        true => [
            "convert_to(replace(convert_from(body, 'UTF8'), '\"livemode\": false', '\"livemode\": true '), 'UTF8')",
            "body || '\\x20'",
        ],
        false => [
            "CAST(replace(CAST(body AS TEXT), '\"livemode\": false', '\"livemode\": true ') AS BLOB)",
            "CAST(body || x'20' AS BLOB)",
        ],
    };
    let bodies =
        edited.map(|body| format!("UPDATE event_body SET body = {body} WHERE seq = (SELECT min(seq) FROM event)"));
    let others = [
        "UPDATE event SET event_id = 'evt_forged' WHERE seq = (SELECT min(seq) FROM event)",
        "UPDATE event SET body_hash = (SELECT hash FROM batch WHERE number = 1) WHERE seq = (SELECT max(seq) FROM event)",
        "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)",
        "UPDATE batch SET previous_hash = hash WHERE number = (SELECT max(number) FROM batch)",
    ];
    for sql in bodies.iter().map(String::as_str).chain(others) {
        let shop = stocked(first.another());
        edit(&shop, sql);
        let found = shop.run(&["audit", "verify"]).exits(1);
        assert!(found.stdout.lines().count() >= 2 && found.stdout.ends_with("is broken\n"), "{sql}: {found:?}");
        let report = json_lines(&shop.run(&["audit", "verify", "--json"]).exits(1).stdout).remove(0);
        assert!(!report["report"]["faults"].as_array().expect("a list").is_empty(), "{sql}: {report}");
    }
}

const CHECKPOINT_KEY: &str = "checkpoint_4f1d2c3b5a69788796a5b4c3";

/// With the key that signs checkpoints, from a file as an operator would have it.
fn signing(shop: &Shop, arguments: &[&str]) -> Command {
    shop.write("checkpoint.key", format!("{CHECKPOINT_KEY}\n"));
    let mut command = shop.command(arguments);
    command.env("QUITTANCE_CHECKPOINT_KEY", "file:checkpoint.key");
    command
}

fn deliver(server: &Server, seed: u64) {
    assert_eq!(server.deliver(PATH, SECRET, &sample(seed, "payment_intent.succeeded").body).0, 200);
}

/// Serves with a key and a file, takes these deliveries one after the other, and stops.
/// Returns the log.
fn witnessed(shop: &Shop, seeds: std::ops::RangeInclusive<u64>) -> String {
    let mut command = signing(shop, &["serve", "--listen", "127.0.0.1:0"]);
    let mut server = Server::start(command.env("QUITTANCE_CHECKPOINT_FILE", "checkpoints.jsonl"));
    for seed in seeds {
        deliver(&server, seed); // Each is answered, so each is a batch.
    }
    server.applied();
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    let log = server.log();
    assert!(!log.contains(CHECKPOINT_KEY), "{log}");
    log
}

/// The last links and their events are gone, and nothing that they left behind tells.
fn remove_links_after(shop: &Shop, batch: u64) {
    let removal = format!(
        "DELETE FROM event_body WHERE seq IN (SELECT seq FROM event WHERE batch > {batch});
         DELETE FROM event WHERE batch > {batch}; DELETE FROM batch WHERE number > {batch};"
    );
    // Where the next link goes on from.
    let end = "UPDATE chain_head SET number = batch.number, hash = batch.hash
               FROM batch WHERE batch.number = (SELECT max(number) FROM batch)";
    let removal = if shop.database().is_postgres() { format!("{removal} {end}") } else { removal };
    wait(shop.database().execute(&removal));
}

fn kept(shop: &Shop) -> Vec<Value> {
    json_lines(&std::fs::read_to_string(shop.path("checkpoints.jsonl")).expect("the file"))
}

fn removed_events_at_the_end_are_found_with_a_checkpoint_and_only_with_one(shop: Shop) {
    let log = witnessed(&shop, 1..=5);
    let last = kept(&shop).pop().expect("a checkpoint");
    assert_eq!((&last["account"], &last["writer"], &last["batch"]), (&"default".into(), &"main".into(), &5.into()));
    assert_eq!(last["signature"].as_str().map(str::len), Some(64), "{last}");
    shop.write("serve.log", &log);
    let verify = |file: &str| said(&mut signing(&shop, &["audit", "verify", "--checkpoint", file]));
    let fine = verify("checkpoints.jsonl").ok();
    assert!(fine.contains("signed, 0 unsigned): the chain has what they saw\n"), "{fine}");
    let logged = verify("serve.log").ok();
    assert!(logged.contains("signed, 0 unsigned): the chain has what they saw\n"), "{logged}");

    remove_links_after(&shop, 3);
    shop.run(&["audit", "verify"]).ok();
    for file in ["checkpoints.jsonl", "serve.log"] {
        let found = verify(file).exits(1).stdout;
        assert!(found.contains("default: the chain of 3 links over 3 events holds\n"), "{found}");
        assert!(found.contains(": default: batches 4 to 5 are missing at the chain's end; line "), "{found}");
        assert!(found.ends_with("they do not fit the chain\n"), "{found}");
    }
    let report = said(&mut signing(&shop, &["audit", "verify", "--json", "--checkpoint", "checkpoints.jsonl"]));
    let report = json_lines(&report.exits(1).stdout).pop().expect("a report");
    let fault = &report["checkpoints"]["faults"][0];
    assert_eq!(
        (&fault["fault"], &fault["account"], &fault["first"], &fault["last"]),
        (&"tail_missing".into(), &"default".into(), &4.into(), &5.into()),
        "{report}"
    );

    witnessed(&shop, 6..=9);
    shop.run(&["audit", "verify"]).ok();
    let found = verify("checkpoints.jsonl").exits(1).stdout;
    assert!(found.contains("default: batch 5 is another one than line "), "{found}");
}

fn an_edited_checkpoint_is_found_where_there_is_a_key(shop: Shop) {
    witnessed(&shop, 1..=2);
    let last = kept(&shop).pop().expect("one of when it stopped");
    remove_links_after(&shop, 1);
    let now = json_lines(&shop.run(&["audit", "checkpoint"]).ok()).remove(0);
    let mut forged = last;
    (forged["batch"], forged["hash"]) = (now["batch"].clone(), now["hash"].clone());
    shop.write("checkpoints.jsonl", format!("{{\"message\":\"Serving\"}}\n{forged}\n"));
    let command = ["audit", "verify", "--checkpoint", "checkpoints.jsonl"];
    let found = said(&mut signing(&shop, &command)).exits(1).stdout;
    assert!(found.contains("checkpoints.jsonl: line 2, default: the checkpoint of batch 1 was edited"), "{found}");
    let unchecked = shop.run(&command).ok();
    assert!(unchecked.contains("no key to check the others with"), "{unchecked}");
}

fn checkpoints_can_be_printed_and_read_back_signed_or_not(shop: Shop) {
    let shop = stocked(shop);
    let unsigned = shop.run(&["audit", "checkpoint"]).exits(0);
    assert!(unsigned.stderr.contains("QUITTANCE_CHECKPOINT_KEY"), "{unsigned:?}");
    let signed = said(&mut signing(&shop, &["audit", "checkpoint"])).exits(0);
    assert_eq!(signed.stderr, "");
    let (first, second) = (json_lines(&unsigned.stdout).remove(0), json_lines(&signed.stdout).remove(0));
    assert_eq!((&first["signature"], &first["hash"]), (&Value::Null, &second["hash"]));
    let both = format!("{}{}", unsigned.stdout, signed.stdout);
    let command = ["audit", "verify", "--checkpoint", "-"];
    let read = shop.run_with_input(&command, both.as_bytes()).ok();
    assert!(read.contains("standard input: 2 checkpoints (1 unsigned, no key to check the others with)"), "{read}");
    shop.write("both", &both);
    let checked = said(&mut signing(&shop, &["audit", "verify", "--checkpoint", "both"])).ok();
    assert!(checked.contains("both: 2 checkpoints (1 signed, 1 unsigned): the chain has what they saw"), "{checked}");

    shop.write("none", "{\"message\":\"Serving\"}\nno JSON\n");
    for (file, named) in [("none", "none holds no checkpoint"), ("nowhere", "nowhere cannot be read")] {
        let error = shop.run(&["audit", "verify", "--checkpoint", file]).error();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn what_checkpoints_are_worth_is_said_and_a_key_that_is_none_is_refused() {
    let shop = Shop::new();
    let unsigned = shop.run(&["config", "check"]).ok();
    let line = unsigned.lines().find(|line| line.starts_with("checkpoint ")).expect("a line");
    assert!(
        line.contains("unsigned") && line.contains("can hide") && line.contains("QUITTANCE_CHECKPOINT_KEY"),
        "{line}"
    );
    shop.write(
        "quittance.toml",
        "checkpoint_key = \"file:checkpoint.key\"\ncheckpoint_file = \"kept/checkpoints.jsonl\"\n",
    );
    shop.write("checkpoint.key", CHECKPOINT_KEY);
    let signed = shop.run(&["config", "check"]).ok();
    assert!(signed.contains("checkpoint signed, in the log and in kept/checkpoints.jsonl\n"), "{signed}");
    let report = json_lines(&shop.run(&["config", "check", "--json"]).ok()).remove(0);
    assert_eq!(report["checkpoints"]["signed"], true, "{report}");
    let error = shop.run(&["serve", "--listen", "127.0.0.1:0"]).error();
    assert!(error.contains("checkpoint_file: kept/checkpoints.jsonl cannot be written"), "{error}");
    for (text, named) in
        [("short", "checkpoint_key: a key of less than 16 bytes"), ("", "checkpoint_key: a secret is empty")]
    {
        shop.write("checkpoint.key", text);
        for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["config", "check"], &["audit", "checkpoint"]] {
            let error = shop.run(command).error();
            assert!(error.contains(named), "{command:?}: {error}");
        }
    }
    std::fs::remove_file(shop.path("checkpoint.key")).expect("it was there");
    shop.run(&["migrate"]).ok();
    shop.run(&["audit", "verify"]).ok();
}
