//! `quittance events`, beside a running server and without one.

use serde_json::Value;

use crate::shop::{PATH, SECRET, Server, Shop, json_lines, sample};

on_each!(
    lists_are_filtered_and_newest_first_with_and_without_a_server,
    an_event_is_shown_with_all_that_is_known_of_it,
    a_redelivery_is_shown_and_is_no_event,
    a_replay_changes_nothing_that_was_right_with_and_without_a_server,
    one_of_several_events_with_one_id_can_be_chosen,
);

/// A shop with three kinds of events in it, all applied; the oldest first.
fn stocked(shop: Shop) -> (Shop, Server, Vec<String>) {
    let server = shop.serve();
    let types = ["payment_intent.succeeded", "charge.failed", "payment_intent.canceled", "payment_intent.succeeded"];
    let mut ids = Vec::new();
    for (seed, event_type) in (1..).zip(types) {
        let event = sample(seed, event_type);
        let path = if seed == 2 { "/payments/webhook" } else { PATH };
        assert_eq!(server.deliver(path, SECRET, &event.body).0, 200);
        ids.push(event.id);
    }
    server.applied();
    (shop, server, ids)
}

fn listed(shop: &Shop, arguments: &[&str]) -> Vec<String> {
    let events = json_lines(&shop.run(&[&["events", "list", "--json"], arguments].concat()).ok());
    events.iter().map(|event| event["event_id"].as_str().expect("an id").to_owned()).collect()
}

fn everything_about_listing(shop: &Shop, ids: &[String]) {
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(listed(shop, &[]), newest_first);
    assert_eq!(listed(shop, &["--limit", "2"]), newest_first[..2]);
    assert_eq!(listed(shop, &["--limit", "0"]), newest_first);
    let of = |at: &[usize]| at.iter().map(|index| ids[*index].clone()).collect::<Vec<_>>();
    let table: [(&[&str], &[usize]); 12] = [
        (&["--type", "payment_intent.succeeded"], &[3, 0]),
        (&["--type", "payment_intent.succeeded", "--limit", "1"], &[3]),
        (&["--state", "applied", "--endpoint", "/payments/webhook"], &[1]),
        (&["--state", "dead"], &[]),
        (&["--gateway", "stripe", "--account", "default"], &[3, 2, 1, 0]),
        (&["--gateway", "paypal"], &[]),
        (&["--account", "other"], &[]),
        (&["--since", "2000-01-01T00:00:00Z", "-q", "payment_intent."], &[3, 2, 0]),
        (&["--until", "2000-01-01T00:00:00Z"], &[]),
        (&["--since", "2999-01-01T00:00:00Z"], &[]),
        (&["-q", &ids[2]], &[2]),
        (&["--payment", "pay_none"], &[]),
    ];
    for (arguments, expected) in table {
        assert_eq!(listed(shop, arguments), of(expected), "{arguments:?}");
    }
    let lines = shop.run(&["events", "list"]).ok();
    let starts: Vec<usize> = lines.lines().map(|line| line.find("applied").expect("a state")).collect();
    assert_eq!(starts, [starts[0]; 4], "columns stand below each other:\n{lines}");
    assert!(lines.lines().zip(&newest_first).all(|(line, id)| line.ends_with(id.as_str())), "{lines}");
    for (option, value) in [("--state", "lost"), ("--since", "yesterday"), ("--limit", "few")] {
        let wrong = shop.run(&["events", "list", option, value]).exits(2);
        assert!(wrong.stderr.contains(option) && wrong.stderr.contains(value), "{}", wrong.stderr);
    }
}

fn lists_are_filtered_and_newest_first_with_and_without_a_server(shop: Shop) {
    let (shop, server, ids) = stocked(shop);
    everything_about_listing(&shop, &ids);
    server.stop();
    everything_about_listing(&shop, &ids);
}

fn an_event_is_shown_with_all_that_is_known_of_it(shop: Shop) {
    let (shop, _server, ids) = stocked(shop);
    let event = sample(1, "payment_intent.succeeded");
    let body: Value = serde_json::from_str(&event.body).expect("JSON");
    let shown = json_lines(&shop.run(&["events", "show", &ids[0], "--json"]).ok()).remove(0);
    assert_eq!((&shown["event_id"], &shown["state"]), (&ids[0].as_str().into(), &"applied".into()));
    assert_eq!(shown["payload"]["type"], body["type"], "{shown}");
    let changes = shown["changes"].as_array().expect("a list");
    let to_paid = |subject: &str| changes.iter().filter(|c| c["subject"] == subject && c["to"] == "paid").count();
    assert_eq!((to_paid("payment"), to_paid("order"), changes.len()), (1, 1, 2), "{shown}");
    let text = shop.run(&["events", "show", &ids[0]]).ok();
    for part in [&ids[0], "delivered ", "changed ", "nothing → paid", "\"object\": \"event\""] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let unknown = shop.run(&["events", "show", "evt_none"]).error();
    assert!(unknown.contains("evt_none"), "{unknown}");
    let payment = changes.iter().find(|change| change["subject"] == "payment").expect("one")["subject_id"].clone();
    assert_eq!(listed(&shop, &["--payment", payment.as_str().expect("an id")]), ids[..1]);
}

fn a_redelivery_is_shown_and_is_no_event(shop: Shop) {
    let server = shop.serve();
    let event = sample(5, "payment_intent.succeeded");
    server.deliver(PATH, SECRET, &event.body);
    let (status, reply) = server.deliver("/payments/webhook", SECRET, &event.body);
    assert_eq!(status, 200, "{reply}");
    server.applied();
    assert_eq!(server.deliver(PATH, SECRET, &event.body).1["status"], "duplicate");
    assert_eq!(listed(&shop, &[]), std::slice::from_ref(&event.id));
    let text = shop.run(&["events", "show", &event.id]).ok();
    assert_eq!(text.matches("\ndelivered ").count(), 3, "{text}");
    assert_eq!(text.matches("\nchanged ").count(), 2, "{text}");
}

fn everything_about_replaying(shop: &Shop, ids: &[String]) {
    let before = shop.run(&["events", "show", &ids[0], "--json"]).ok();
    let dry = shop.run(&["events", "replay", &ids[0], "--dry-run"]).exits(0);
    assert_eq!((dry.stdout.as_str(), dry.stderr.as_str()), ("", "1 event would be replayed, 0 things would change\n"));
    assert_eq!(shop.run(&["events", "replay", &ids[0], &ids[1]]).ok(), "2 events replayed\n");
    assert_eq!(shop.run(&["events", "replay", "--type", "payment_intent.succeeded"]).ok(), "2 events replayed\n");
    assert_eq!(shop.run(&["events", "replay", "--state", "dead"]).ok(), "0 events replayed\n");
    for all_of_them in [&["events", "replay"][..], &["events", "replay", "--account", "default", "--mode", "test"]] {
        let refused = shop.run(all_of_them).exits(2);
        assert_eq!((refused.stdout.as_str(), refused.stderr.lines().count()), ("", 1), "{refused:?}");
        assert!(refused.stderr.contains("ids, or a filter"), "{refused:?}");
    }
    let unknown = shop.run(&["events", "replay", &ids[0], "evt_none"]).error();
    assert!(unknown.contains("evt_none"), "{unknown}");
    let changes = |shown: &str| json_lines(shown)[0]["changes"].clone();
    let after = crate::shop::until("it is applied again", || {
        let shown = shop.run(&["events", "show", &ids[0], "--json"]).ok();
        (json_lines(&shown)[0]["state"] == "applied").then_some(shown)
    });
    assert_eq!(changes(&after), changes(&before), "a replay tells no transition again");
    shop.run(&["rebuild", "--check"]).ok();
}

fn a_replay_changes_nothing_that_was_right_with_and_without_a_server(shop: Shop) {
    let (shop, server, ids) = stocked(shop);
    everything_about_replaying(&shop, &ids);
    server.applied();
    server.stop();
    everything_about_replaying(&shop, &ids);
    assert_eq!(listed(&shop, &["--state", "applied"]).len(), 4);
}

#[test]
fn a_reader_that_left_is_no_failure() {
    use std::io::Read;
    let (shop, _server, ids) = stocked(Shop::new());
    let mut command = shop.command(&["events", "show", &ids[0]]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    assert_eq!((child.wait().expect("it ends").code(), said.as_str()), (Some(0), ""));
}

const LOOKING: [&[&str]; 8] = [
    &["events", "list"],
    &["events", "show", "evt_1"],
    &["events", "replay", "evt_1"],
    &["keys", "list"],
    &["keys", "revoke", "key_1"],
    &["rebuild", "--check"],
    &["audit", "verify"],
    &["audit", "checkpoint"],
];

#[test]
fn a_database_that_is_not_there_is_not_made_by_looking() {
    let shop = Shop::new();
    for arguments in LOOKING {
        let error = shop.run(arguments).error();
        assert!(error.contains("quittance.db") && error.contains("migrate"), "{error}");
        assert!(!shop.path("quittance.db").exists(), "{arguments:?}");
    }
}

#[test]
fn looking_changes_no_file_that_is_not_quittances() {
    let shop = Shop::new();
    let made = |name: &str, sql: &str| {
        let database = rusqlite::Connection::open(shop.path(name)).expect(name);
        database.execute_batch(sql).expect(sql);
    };
    made("shop.db", "CREATE TABLE customer (id INTEGER)");
    let migrations = "CREATE TABLE _sqlx_migrations (version BIGINT, success BOOLEAN, checksum BLOB)";
    made("unmigrated.db", migrations);
    made("theirs.db", &format!("{migrations}; INSERT INTO _sqlx_migrations VALUES (20240101000000, true, x'00')"));
    made("theirs_too.db", &format!("{migrations}; INSERT INTO _sqlx_migrations VALUES (1, true, x'00')"));
    shop.write("empty.db", "");
    shop.write("text.db", "This is no database at all. ".repeat(40));
    shop.run(&["migrate", "--database-url", "sqlite:older.db"]).ok();
    let older = "DELETE FROM _sqlx_migrations WHERE version > 1; PRAGMA wal_checkpoint(TRUNCATE)";
    let database = rusqlite::Connection::open(shop.path("older.db")).expect("it is there");
    database.execute_batch(older).expect(older);
    drop(database);
    for (name, said) in [
        ("shop.db", "another program"),
        ("unmigrated.db", "another program"),
        ("theirs.db", "another program"),
        ("theirs_too.db", "another program"),
        ("empty.db", "no database of Quittance's"),
        ("text.db", "not a database"),
        ("older.db", "earlier version"),
    ] {
        let before = std::fs::read(shop.path(name)).expect(name);
        for arguments in LOOKING {
            let error = shop.run(&[arguments, &["--database-url", &format!("sqlite:{name}")]].concat()).error();
            assert!(error.contains(name) && error.contains(said), "{arguments:?}: {error}");
            assert!(std::fs::read(shop.path(name)).expect(name) == before, "{arguments:?} left {name} as it was");
            assert!(!shop.path(&format!("{name}-wal")).exists(), "{arguments:?}: {name}");
        }
    }
}

fn one_of_several_events_with_one_id_can_be_chosen(shop: Shop) {
    let server = shop.serve();
    let body = sample(1, "payment_intent.succeeded").body;
    let mut event: Value = serde_json::from_str(&body).expect("JSON");
    let id = event["id"].as_str().expect("an id").to_owned();
    for (live, connected_account) in [(false, ""), (true, ""), (true, "acct_1")] {
        event["livemode"] = live.into();
        if !connected_account.is_empty() {
            event["account"] = connected_account.into();
        }
        assert_eq!(server.deliver(PATH, SECRET, &event.to_string()).0, 200);
    }
    server.applied();
    assert_eq!(listed(&shop, &["-q", &id]), [&*id; 3]);
    let shown = |which: &[&str]| {
        let shown = json_lines(&shop.run(&[&["events", "show", &id, "--json"], which].concat()).ok()).remove(0);
        (shown["mode"].as_str().expect("a mode").to_owned(), shown["connected_account"].clone())
    };
    assert_eq!(shown(&["--mode", "test"]), ("test".to_owned(), "".into()));
    assert_eq!(shown(&["--mode", "live", "--connected-account", ""]), ("live".to_owned(), "".into()));
    assert_eq!(shown(&["--connected-account", "acct_1"]), ("live".to_owned(), "acct_1".into()));
    assert_eq!(shown(&["--account", "default", "--gateway", "stripe", "--mode", "test"]).0, "test");
    for (which, said) in [
        (&[][..], "say which"),
        (&["--mode", "live"], "say which"),
        (&["--account", "other"], "no event has the id"),
        (&["--gateway", "paypal"], "no event has the id"),
        (&["--mode", "test", "--connected-account", "acct_1"], "of that mode and connected account"),
    ] {
        for command in ["show", "replay"] {
            let error = shop.run(&[&["events", command, &id], which].concat()).error();
            assert!(error.contains(&id) && error.contains(said), "{command} {which:?}: {error}");
        }
    }
    let replayed = |which: &[&str]| shop.run(&[&["events", "replay"], which].concat()).ok();
    assert_eq!(replayed(&[&id, "--mode", "test"]), "1 event replayed\n");
    assert_eq!(replayed(&["-q", &id, "--mode", "live", "--connected-account", ""]), "1 event replayed\n");
    let wrong = shop.run(&["events", "show", &id, "--mode", "both"]).exits(2);
    assert!(wrong.stderr.contains("neither live nor test"), "{wrong:?}");
    server.stop();
}
