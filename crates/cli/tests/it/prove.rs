//! `quittance prove`

use std::collections::BTreeSet;

use domain::Timestamp;
use gateways::stripe::sample::{SampleEvent, Sampler};
use serde_json::{Value, json};

use crate::shop::{Shop, corpus, json_lines};

/// The events that `simulate --seed` sends.
fn events(seed: u64, payments: usize) -> Vec<SampleEvent> {
    let start = Timestamp::parse("2025-01-01T00:00:00Z").expect("an instant");
    let mut sampler = Sampler::new(seed);
    (0..payments).flat_map(|_| sampler.any_life(start).events).collect()
}

fn lines(values: impl Iterator<Item = String>) -> String {
    values.map(|line| line + "\n").collect()
}

/// On one line, as an export has it.
fn compact(event: &SampleEvent) -> Value {
    serde_json::from_str(&event.body).expect("JSON")
}

#[test]
fn what_simulate_filled_is_proved_and_what_was_edited_is_found() {
    let shop = Shop::new();
    let server = shop.serve();
    let key = shop.key("write");
    let post = |path: &str, body: Value| assert_eq!(server.post(path, &key, &body.to_string()).0, 201, "{path}");
    post("/api/orders", json!({ "id": "6735", "amount": 1500, "currency": "USD" }));
    post("/api/orders/6735/payments", json!({ "id": "own", "gateway_transaction_id": "pi_own" }));
    let url = server.url();
    let arguments = ["simulate", "--payments", "15", "--rate", "0", "--duplicates", "30", "--shuffle", "--seed", "4"];
    shop.run(&[&arguments[..], &["--to", &url]].concat()).ok();
    let of_order = ["trigger", "payment_intent.succeeded", "--payment", "pi_own", "--order-id", "6735"];
    shop.run(&[&of_order[..], &["--amount", "1500", "--to", &url]].concat()).ok();
    server.applied();

    let count = events(4, 15).len() + 1;
    let proved = shop.run(&["prove", "--from-store", "--runs", "3", "--seed", "11"]).exits(0);
    let (first, last) = (proved.stdout.lines().next().expect("a line"), proved.stdout.lines().last().expect("a line"));
    assert_eq!(first, format!("{count} events in {count} recorded bodies, 2 registrations"));
    assert!(last.starts_with("proved: every run ends in ") && last.ends_with(", and is what is stored"), "{last}");
    let heads: Vec<&str> = proved.stdout.lines().skip(1).map(|line| line[..16].trim()).collect();
    assert_eq!(heads, ["as recorded", "seed 11", "seed 12", "seed 13", "what is stored", "proved: every ru"]);
    assert_eq!(proved.stderr.lines().count(), 5, "progress: {}", proved.stderr);
    assert!(proved.stderr.lines().all(|line| !line.contains("not as it has to be")), "{}", proved.stderr);
    server.stop();

    let again = shop.run(&["prove", "--runs", "3", "--seed", "11"]).ok();
    assert_eq!(again, proved.stdout, "the store is what is meant, and the seed repeats it");
    let json = json_lines(&shop.run(&["prove", "--runs", "1", "--seed", "12", "--json"]).ok()).remove(0);
    assert_eq!((&json["holds"], &json["events"], &json["runs"][1]["seed"]), (&json!(true), &json!(count), &json!(12)));
    assert_eq!((&json["runs"][1]["hash"], &json["stored_hash"]), (&json["runs"][0]["hash"], &json["runs"][0]["hash"]));

    let database = rusqlite::Connection::open(shop.path("quittance.db")).expect("the database");
    let edited = database.execute("UPDATE payment SET status = 'failed' WHERE id = 'own'", []).expect("it is edited");
    assert_eq!(edited, 1);
    let found = shop.run(&["prove", "--runs", "1"]).exits(1);
    let difference = "stored: default payment own: status is \"failed\", not \"paid\"";
    assert!(found.stdout.lines().any(|line| line == difference), "{}", found.stdout);
    assert!(found.stdout.lines().last().is_some_and(|line| line.starts_with("not proved: 1 difference")), "{found:?}");
}

#[test]
fn a_file_is_proved_however_it_is_written() {
    let shop = Shop::new();
    let events = events(5, 4);
    let bodies: Vec<Value> = events.iter().map(compact).collect();
    let delivery = |event: &SampleEvent| json!({ "endpoint": "/payments/webhook/", "body": event.body }).to_string();
    let files = [
        ("deliveries.jsonl", lines(events.iter().map(delivery))),
        ("events.jsonl", lines(bodies.iter().map(Value::to_string))),
        ("array.json", json!(bodies).to_string()),
        ("list.json", json!({ "object": "list", "data": bodies, "has_more": false }).to_string()),
    ];
    let mut hashes = Vec::new();
    for (name, text) in &files {
        shop.write(name, text);
        let said = shop.run(&["prove", name, "--runs", "2", "--seed", "1", "--json"]).ok();
        let proof = json_lines(&said).remove(0);
        assert_eq!((&proof["holds"], &proof["events"]), (&json!(true), &json!(events.len())), "{name}: {proof}");
        assert_eq!(proof["stored_hash"], Value::Null, "{name}");
        hashes.push(proof["runs"][0]["hash"].clone());
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    let piped = shop.run_with_input(&["prove", "-", "--runs", "1", "--json"], files[1].1.as_bytes()).ok();
    assert_eq!(json_lines(&piped)[0]["runs"][0]["hash"], hashes[0]);
    assert!(!shop.path("quittance.db").exists(), "a file is proved without a database");

    let waiting = events.iter().map(|event| json!({ "endpoint": "/webhooks/stripe", "body": event.body }).to_string());
    shop.write("waiting.jsonl", lines(waiting));
    let waiting = json_lines(&shop.run(&["prove", "waiting.jsonl", "--runs", "1", "--json"]).ok()).remove(0);
    assert_ne!(waiting["runs"][0]["hash"], hashes[0], "there nobody asked for these payments");
}

#[test]
fn two_bodies_under_one_id_are_no_proof() {
    let shop = Shop::new();
    let events = events(6, 3);
    let paid = events.iter().find(|event| event.event_type == "payment_intent.succeeded").expect("one is paid");
    let mut other = compact(paid);
    other["data"]["object"]["status"] = json!("processing");
    let all = events.iter().map(compact).chain([other]).map(|event| event.to_string());
    shop.write("recorded.jsonl", lines(all));
    let found = shop.run(&["prove", "recorded.jsonl", "--runs", "6", "--seed", "1"]).exits(1);
    let said = |text: &str| assert!(found.stdout.contains(text), "no {text:?}: {}", found.stdout);
    said("default payment pay_");
    said("this is enough to see it:");
    said(&format!("payment_intent.succeeded {}", paid.id));
    said("repeat it with: quittance prove recorded.jsonl --runs 1 --seed ");
    assert!(found.stdout.lines().last().is_some_and(|line| line.starts_with("not proved: ")), "{}", found.stdout);
}

#[test]
fn what_cannot_be_proved_is_said_in_a_line() {
    let shop = Shop::new();
    for (text, said) in [
        ("", "holds no event"),
        ("{\"id\":\"evt_1\"}\n", "event 1: it is nothing that stripe sends"),
        ("\n{\"id\":\n{}\n", "line 2: it is no JSON object"),
        ("{\"gateway\":\"venmo\",\"body\":{}}", "no gateway \"venmo\" is known"),
        ("{\"body\":{},\"acount\":\"shop\"}", "unknown field `acount`"),
        ("{\"body\":{},\"account\":\"a b\"}", "\"a b\" is no account"),
        ("{\"body\":{},\"unmatched\":\"keep\"}", "unmatched is create or reject"),
        ("{\"body\":{},\"received_at\":\"noon\"}", "\"noon\" is no instant"),
    ] {
        shop.write("recorded.jsonl", text);
        let error = shop.run(&["prove", "recorded.jsonl"]).error();
        assert!(error.contains("recorded.jsonl") && error.contains(said), "{text}: {error}");
    }
    assert!(shop.run(&["prove", "nowhere.jsonl"]).error().contains("nowhere.jsonl cannot be read"));
    assert!(shop.run(&["prove"]).error().contains("there is no database"));
    shop.write("recorded.jsonl", "{}");
    shop.run(&["prove", "recorded.jsonl", "--from-store"]).exits(2);
    shop.run(&["prove", "--runs", "0"]).exits(2);
    shop.run(&["prove", "--runs", "101"]).exits(2);
}

/// Recorded events of a gateway, the first of each id.
fn recorded(folder: &str, endpoint: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(corpus(&format!("events/{folder}/{name}"))).expect(name);
    let index: Value = serde_json::from_str(&read("index.json")).expect("JSON");
    let mut ids = BTreeSet::new();
    let mut deliveries = String::new();
    for file in index.as_array().expect("a list").iter().filter(|file| file["kind"] != "resource") {
        let body = read(file["file"].as_str().expect("a file"));
        let id = serde_json::from_str::<Value>(&body).expect("JSON")["id"].as_str().map(str::to_owned);
        if ids.insert(id) {
            deliveries.push_str(&(json!({ "endpoint": endpoint, "body": body }).to_string() + "\n"));
        }
    }
    assert!(ids.len() >= 20, "{} events", ids.len());
    deliveries
}

#[test]
fn recorded_events_are_proved() {
    let shop = Shop::new();
    for (folder, endpoint) in [
        ("stripe", "/payments/webhook"),
        ("stripe", "/webhooks/stripe"),
        ("paypal", "/api/webhooks/paypal"),
        ("paypal", "/api/v1/order-payments/webhooks/paypal"),
    ] {
        shop.write("recorded.jsonl", recorded(folder, endpoint));
        let proved = shop.run(&["prove", "recorded.jsonl", "--runs", "4", "--seed", "1"]).ok();
        assert!(proved.lines().last().is_some_and(|line| line.starts_with("proved: ")), "{endpoint}: {proved}");
    }
}
