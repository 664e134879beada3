//! `quittance trigger`

use std::collections::HashSet;
use std::net::TcpListener;

use crate::shop::{SECRET, Server, Shop, json_lines, said};

on_each!(
    every_type_it_lists_is_accepted,
    what_is_asked_for_lands_in_the_state,
    the_merchants_own_senders_find_their_endpoints,
    what_is_registered_is_paid_as_it_is_due,
);

fn trigger(shop: &Shop, server: &Server, arguments: &[&str]) -> crate::shop::Said {
    shop.run(&[&["trigger", "--to", &server.url()], arguments].concat())
}

fn every_type_it_lists_is_accepted(shop: Shop) {
    let server = shop.serve();
    let list = shop.run(&["trigger", "--list"]).ok();
    let types: HashSet<&str> = list.lines().collect();
    assert!(types.len() >= 29 && types.contains("charge.refunded"), "{list}");
    for event_type in &types {
        let said = trigger(&shop, &server, &[event_type]);
        assert!(said.stderr.contains(event_type) && said.stderr.contains("200"), "{}", said.stderr);
        let reply = json_lines(&said.ok());
        assert_eq!((reply.len(), reply[0]["status"].as_str()), (1, Some("accepted")), "{event_type}: {reply:?}");
    }
    server.applied();
    let events = json_lines(&shop.run(&["events", "list", "--json"]).ok());
    assert_eq!(events.len(), types.len());
    for event in &events {
        let reader = event["event_type"].as_str().expect("a type").starts_with("terminal.reader.");
        assert_eq!(event["state"], if reader { "ignored" } else { "applied" }, "{event}");
    }
}

fn what_is_asked_for_lands_in_the_state(shop: Shop) {
    let server = shop.serve();
    let key = shop.key("read");
    let asked =
        ["--order-id", "6735", "--amount", "4200", "--currency", "jpy", "--payment", "pi_mine", "--booking-id", "b1"];
    trigger(&shop, &server, &[&["payment_intent.succeeded"], &asked[..]].concat()).ok();
    server.applied();
    let order = server.found("/api/orders/6735", &key);
    assert_eq!(order["payment_status"], "paid", "{order}");
    assert_eq!((order["amount_paid"].as_i64(), order["currency"].as_str()), (Some(4200), Some("JPY")), "{order}");
    let payment = &order["payments"][0];
    assert_eq!(order["payments"].as_array().map(Vec::len), Some(1), "{order}");
    assert_eq!(payment["gateway_transaction_id"], "pi_mine", "{order}");
    assert_eq!((payment["amount"].as_i64(), payment["mode"].as_str()), (Some(4200), Some("test")), "{order}");
    assert_eq!((&payment["metadata"]["booking_id"], &payment["metadata"]["order_id"]), (&"b1".into(), &"6735".into()));

    trigger(&shop, &server, &["payment_intent.succeeded", "--order-id", "6736", "--payment", "17", "--live"]).ok();
    trigger(&shop, &server, &["charge.refunded", "--order-id", "6737", "--amount", "900", "--currency", "EUR"]).ok();
    server.applied();
    let live = server.found("/api/orders/6736", &key);
    let payment = &live["payments"][0];
    assert_eq!((&payment["metadata"]["payment_id"], &payment["mode"]), (&"17".into(), &"live".into()), "{live}");
    let refunded = server.found("/api/orders/6737", &key);
    assert_eq!((&refunded["payment_status"], &refunded["amount_refunded"]), (&"refunded".into(), &900.into()));
}

#[test]
fn the_same_seed_is_the_same_event_at_any_time() {
    let shop = Shop::new();
    let server = shop.serve();
    let reply = |arguments: &[&str]| {
        json_lines(&trigger(&shop, &server, &[&["charge.succeeded"], arguments].concat()).ok()).remove(0)
    };
    let first = reply(&["--seed", "7"]);
    assert_eq!(first["status"], "accepted");
    // Ids tell the time: without a fixed one, the next second makes another event.
    let second_over = std::time::Instant::now() + std::time::Duration::from_millis(1_100);
    crate::shop::until("the next second", || (std::time::Instant::now() > second_over).then_some(()));
    let again = reply(&["--seed", "7"]);
    assert_eq!((&again["status"], &again["event_id"]), (&"duplicate".into(), &first["event_id"]));
    assert_eq!(reply(&["--seed", "8"])["status"], "accepted");
    assert_eq!(reply(&["--seed", "7", "--created", "2026-03-01T12:00:00Z"])["status"], "accepted");
    assert_eq!(reply(&["--seed", "7", "--created", "1772366400"])["status"], "duplicate");
}

#[test]
fn a_refusal_is_status_1_and_prints_the_reply() {
    let shop = Shop::new();
    let server = shop.serve();
    let refused = trigger(&shop, &server, &["charge.succeeded", "--secret", "whsec_wrong"]).exits(1);
    assert_eq!(json_lines(&refused.stdout)[0]["status"], "error", "{refused:?}");
    assert!(refused.stderr.contains("400"), "{refused:?}");
    assert_eq!(shop.run(&["events", "list"]).ok(), "");
}

#[test]
fn mistakes_are_one_line_that_says_what_to_do() {
    let shop = Shop::new();
    for (arguments, named) in [
        (&["payment_intent.suceeded"][..], &["payment_intent.suceeded", "trigger --list"][..]),
        (&["charge.succeeded", "--gateway", "generic"], &["charge.succeeded", "--list --gateway generic"]),
        (&["payment.completed", "--gateway", "paypal"], &["paypal"]),
        (&["payment.completed", "--gateway", "standard-webhooks", "--secret", "c2VjcmV0"], &["--to"]),
        (&["charge.succeeded", "--gateway", "klarna"], &["klarna", "microservice"]),
        (&["charge.succeeded", "--currency", "doubloons"], &["doubloons", "EUR"]),
        (&["charge.succeeded", "--amount", "-1"], &["-1", "--amount"]),
        (&["charge.succeeded", "--amount=-1"], &["-1", "--amount"]),
    ] {
        let said = shop.run(&[&["trigger"], arguments].concat()).exits(2);
        assert!(named.iter().all(|named| said.stderr.contains(named)), "{}", said.stderr);
        assert_eq!(said.stdout, "", "{arguments:?}");
    }
    for url in ["localhost", "nonsense", "ftp://localhost/"] {
        let said = shop.run(&["trigger", "charge.succeeded", "--to", url]).exits(2);
        assert!(said.stderr.contains(url) && said.stderr.contains("http://"), "{}", said.stderr);
    }
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let nobody = shop.run(&["trigger", "charge.succeeded", "--to", &format!("http://{free}/")]).error();
    assert!(nobody.contains(&free.to_string()) && nobody.contains("quittance serve"), "{nobody}");
    let mut unset = shop.command(&["trigger", "charge.succeeded"]);
    let no_secret = said(unset.env_remove("STRIPE_WEBHOOK_SECRET")).error();
    assert!(no_secret.contains("--secret") && no_secret.contains("STRIPE_WEBHOOK_SECRET"), "{no_secret}");
    let elsewhere = shop.run(&["trigger", "charge.succeeded", "--secret", "file:nowhere"]).error();
    assert!(elsewhere.contains("nowhere"), "{elsewhere}");
    shop.run(&["trigger"]).exits(2);
}

#[test]
fn the_url_and_the_secret_are_the_configured_ones() {
    let shop = Shop::new();
    shop.write("secret", SECRET);
    shop.write("quittance.toml", "[stripe]\nwebhook_secrets = [\"file:secret\"]\n");
    let mut serve = shop.command(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(serve.env_remove("STRIPE_WEBHOOK_SECRET"));
    let mut trigger = shop.command(&["trigger", "charge.succeeded"]);
    trigger.env_remove("STRIPE_WEBHOOK_SECRET").env("QUITTANCE_LISTEN", server.address.to_string());
    assert_eq!(json_lines(&said(&mut trigger).ok())[0]["status"], "accepted");
}

#[test]
fn every_gateway_that_can_be_signed_for_has_its_types() {
    let shop = Shop::new();
    for gateway in ["generic", "microservice", "standard-webhooks"] {
        let said = shop.run(&["trigger", "--list", "--gateway", gateway]);
        assert!(said.stderr.contains("--gateway stripe"), "{}", said.stderr);
        assert_eq!(said.ok().lines().collect::<Vec<_>>(), ["payment.completed", "payment.failed"]);
    }
    let stripes = shop.run(&["trigger", "--list"]);
    assert!(stripes.stderr.contains("--gateway microservice"), "{}", stripes.stderr);
}

/// A payment that nobody registered is not found; its event is kept.
fn the_merchants_own_senders_find_their_endpoints(shop: Shop) {
    let secrets = [("WEBHOOK_SECRET", "generic-secret"), ("PAYMENT_API_KEY", "microservice-key")];
    let server = Server::start(shop.command(&["serve", "--listen", "127.0.0.1:0"]).envs(secrets));
    for (gateway, refused) in [("generic", 401), ("microservice", 401)] {
        let send = |more: &[&str]| {
            let named = ["trigger", "payment.completed", "--gateway", gateway, "--transaction", "TXN-1"];
            let mut command = shop.command(&[&named[..], &["--amount", "15000", "--currency", "USD"], more].concat());
            said(command.envs(secrets).env("QUITTANCE_LISTEN", server.address.to_string())).exits(1)
        };
        let not_found = send(&[]);
        assert!(not_found.stderr.contains("404"), "{gateway}: {not_found:?}");
        let wrong = send(&["--secret", "wrong"]);
        assert!(wrong.stderr.contains(&refused.to_string()), "{gateway}: {wrong:?}");
    }
    let events = json_lines(&shop.run(&["events", "list", "--json"]).ok());
    let kept: HashSet<(&str, &str)> = events
        .iter()
        .map(|event| (event["gateway"].as_str().expect("a gateway"), event["state"].as_str().expect("a state")))
        .collect();
    assert_eq!(kept, HashSet::from([("generic", "waiting"), ("microservice", "waiting")]), "{events:?}");
}

/// What is named and registered is paid as it is due, without saying the amount again;
/// nothing that nobody asked for is named.
fn what_is_registered_is_paid_as_it_is_due(shop: Shop) {
    let server = shop.serve();
    let key = shop.key("write");
    let post = |path: &str, body: &str| {
        let (status, reply) = server.post(path, &key, body);
        assert_eq!(status, 201, "{reply}");
    };
    post("/api/resources", r#"{"id":"house","name":"House"}"#);
    let booking =
        r#"{"id":"1","resource_id":"house","start":"2026-12-01","end":"2026-12-05","amount":50000,"currency":"USD"}"#;
    post("/api/bookings", booking);
    let url = format!("http://{}/webhooks/stripe/", server.address);
    let pay =
        |arguments: &[&str]| json_lines(&shop.run(&[&["trigger", "--to", &url], arguments].concat()).ok()).remove(0);
    let paid = pay(&["checkout.session.completed", "--booking-id", "1"]);
    assert_eq!(paid["message"], "Booking confirmed", "{paid}");
    assert_eq!(paid["order_id"], serde_json::Value::Null, "{paid}");

    post("/api/orders", r#"{"id":"6735","amount":700,"currency":"JPY"}"#);
    post("/api/orders/6735/payments", r#"{"id":"77","gateway_transaction_id":"pi_77"}"#);
    let paid = pay(&["payment_intent.succeeded", "--payment", "pi_77"]);
    assert_eq!((&paid["message"], &paid["payment_id"]), (&"Payment confirmed".into(), &"77".into()), "{paid}");
    assert_eq!(server.found("/api/payments/77", &key)["flags"], serde_json::json!([]));

    trigger(&shop, &server, &["payment_intent.succeeded", "--payment", "pi_unknown"]).ok();
    server.applied();
    let payments = server.found("/api/payments", &key);
    let unknown = &payments["data"][0];
    assert_eq!((unknown["amount"].as_i64(), unknown["currency"].as_str()), (Some(5_000), Some("USD")), "{payments}");
    assert_eq!(unknown["order_id"], serde_json::Value::Null, "{payments}");
    let absent = shop.path("absent.db");
    let elsewhere = ["--database-url", &format!("sqlite:{}", absent.display()), "--to", &server.url()];
    shop.run(&[&["trigger", "payment_intent.succeeded", "--order-id", "6735"], &elsewhere[..]].concat()).ok();
    assert!(!absent.exists(), "looking makes no database");
}
