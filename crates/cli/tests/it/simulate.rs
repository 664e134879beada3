//! `quittance simulate`

use std::net::TcpListener;

use domain::Timestamp;
use gateways::stripe::sample::{Life, Sampler};

use crate::shop::{Shop, json_lines};

on_each!(shuffled_and_duplicated_lives_come_to_what_they_should);

/// The payments that `--seed` makes.
fn lives(seed: u64, count: usize) -> Vec<Life> {
    let start = Timestamp::parse("2025-01-01T00:00:00Z").expect("an instant");
    let mut sampler = Sampler::new(seed);
    (0..count).map(|_| sampler.any_life(start)).collect()
}

fn shuffled_and_duplicated_lives_come_to_what_they_should(shop: Shop) {
    let server = shop.serve();
    let key = shop.key("read");
    let lives = lives(11, 50);
    let events: usize = lives.iter().map(|life| life.events.len()).sum();
    let url = server.url();
    let arguments = ["simulate", "--payments", "50", "--rate", "0", "--duplicates", "30", "--shuffle", "--seed", "11"];
    let said = shop.run(&[&arguments[..], &["--to", &url]].concat());
    assert_eq!(said.stderr, "seed 11\n");
    let summary = json_lines(&said.ok()).remove(0);
    let number = |field: &str| summary[field].as_u64().expect(field) as usize;
    assert_eq!((number("payments"), number("events"), number("refused")), (50, events, 0), "{summary}");
    assert_eq!(number("deliveries"), number("acknowledged"), "{summary}");
    assert!((events + 1..=2 * events).contains(&number("deliveries")), "some came twice: {summary}");
    server.applied();
    for life in &lives {
        let order = server.found(&format!("/api/orders/{}", life.order_id), &key);
        let payments = order["payments"].as_array().expect("a list");
        assert_eq!(payments.len(), 1, "{:?}: {order}", life.kind);
        let payment = &payments[0];
        assert_eq!(payment["gateway_transaction_id"], life.payment_intent.as_str(), "{:?}: {order}", life.kind);
        assert_eq!(payment["payment_status"], life.expected.as_str(), "{:?}: {order}", life.kind);
        assert_eq!(payment["dispute_status"], life.expected_dispute.as_str(), "{:?}: {order}", life.kind);
        assert_eq!(payment["amount_captured"], life.amount_captured.units(), "{:?}: {order}", life.kind);
        assert_eq!(payment["amount_refunded"], life.amount_refunded.units(), "{:?}: {order}", life.kind);
        bench::history::of_life(server.address, &key, life).unwrap_or_else(|error| panic!("{error:#}"));
    }
    assert_eq!(shop.run(&["events", "list", "--limit", "0"]).ok().lines().count(), events);
    shop.run(&["rebuild", "--check"]).ok();
    shop.run(&["audit", "verify"]).ok();

    let again = json_lines(&shop.run(&[&arguments[..], &["--to", &url]].concat()).ok()).remove(0);
    assert_eq!(again, summary, "the same seed is the same traffic");
    assert_eq!(shop.run(&["events", "list", "--limit", "0"]).ok().lines().count(), events, "all of it known");
}

#[test]
fn it_says_once_why_nothing_is_acknowledged_and_gives_up() {
    let shop = Shop::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let url = format!("http://{free}/");
    let silent = shop.run(&["simulate", "--payments", "500", "--rate", "0", "--to", &url]).exits(1);
    assert_eq!(silent.stderr.matches("not acknowledged").count(), 1, "{}", silent.stderr);
    assert!(silent.stderr.contains(&url), "{}", silent.stderr);
    assert_eq!(json_lines(&silent.stdout)[0]["acknowledged"], 0);

    let server = shop.serve();
    let arguments = ["simulate", "--payments", "5", "--rate", "0", "--secret", "whsec_wrong"];
    let refused = shop.run(&[&arguments[..], &["--to", &server.url()]].concat()).exits(1);
    assert_eq!(refused.stderr.matches("not acknowledged: 400").count(), 1, "{}", refused.stderr);
    let summary = json_lines(&refused.stdout).remove(0);
    assert_eq!(summary["refused"], summary["deliveries"], "{summary}");
    shop.run(&["simulate", "--duplicates", "101"]).exits(2);
}
