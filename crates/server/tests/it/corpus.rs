//! Every recorded event at the right endpoint, in any order: all of it is taken, all of it
//! settles, and the end is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::Timestamp;
use engine::clients::paypal::PaypalVerifier;
use gateways::Gateway;
use gateways::paypal::Trust;
use secrecy::SecretString;
use serde_json::{Value, json};
use server::Endpoint;

use crate::it::app::{TestApp, post};
use crate::it::built_in::{BuiltIn, EXTERNAL_PAYPAL, EXTERNAL_STRIPE, SHOP_PAYPAL, TILL, hand_out};

/// How many deliveries are under way at once where they come in a crowd.
const CROWD: usize = 16;

struct Recorded {
    name: String,
    index: Value,
    body: Vec<u8>,
}

/// Recorded events, which are not part of this repository.
fn corpus(path: &str) -> PathBuf {
    let root = std::env::var_os("QUITTANCE_CORPUS").expect("QUITTANCE_CORPUS is not set: run `cargo xtask test`");
    Path::new(&root).join(path)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &str) -> Vec<(String, Value, Vec<u8>)> {
    let index: Value = serde_json::from_slice(&read(&corpus(folder).join("index.json"))).expect("JSON");
    let entries = index.as_array().expect("a list").iter();
    entries
        .map(|entry| {
            let name = entry["file"].as_str().expect("file").to_owned();
            let body = read(&corpus(folder).join(&name));
            (name, entry.clone(), body)
        })
        .collect()
}

/// Every file as an event. Objects are put into one; and where several files, edited by
/// who collected them, share an id without being renderings of one event, all but the
/// first get an id of their own: of two events with one id, one is lost by design.
fn recorded(folder: &str) -> Vec<Recorded> {
    let mut taken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut events = Vec::new();
    for (number, (name, index, body)) in files(folder).into_iter().enumerate() {
        let mut event: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut body = body;
        if index["kind"] == "resource" {
            event = wrapped(number, &index, &event);
            body = event.to_string().into_bytes();
        }
        let id = event["id"].as_str().unwrap_or_default().to_owned();
        let object = if folder.ends_with("stripe") { &event["data"]["object"] } else { &event["resource"] };
        let version = [&event["api_version"], &event["resource_version"]].map(Value::to_string).concat();
        let about = [&event["type"], &event["event_type"], &object["id"]].map(Value::to_string).concat();
        let seen = taken.entry(id.clone()).or_default();
        let is_rendering =
            seen.iter().all(|other| other.ends_with(&about)) && !seen.contains(&format!("{version}{about}"));
        if seen.is_empty() || is_rendering {
            seen.insert(format!("{version}{about}"));
        } else {
            event["id"] = json!(format!("{id}_{number}"));
            body = event.to_string().into_bytes();
        }
        events.push(Recorded { name, index, body });
    }
    events
}

fn wrapped(number: usize, index: &Value, object: &Value) -> Value {
    // Some were recorded as an event's `data` is.
    let inner = [&object["object"], &object["data"]].into_iter().find(|inner| inner.is_object()).unwrap_or(object);
    let kind = index["type"].as_str().and_then(|text| text.strip_prefix("object.")).expect("its kind");
    json!({
        "id": format!("evt_of_object_{number}"), "object": "event", "type": format!("{kind}.updated"),
        "created": 1_700_000_000 + number, "livemode": false, "data": { "object": inner },
    })
}

/// State that has to be the same whatever came first: people's tables, without the times at
/// which rows were written.
pub async fn state(app: &TestApp) -> BTreeMap<&'static str, Vec<String>> {
    let mut state = BTreeMap::new();
    for name in ["payments", "orders", "refunds", "disputes"] {
        let table = app.database().table(&format!("SELECT * FROM {name}")).await;
        let text = |row: &Vec<String>| {
            let columns = table.columns.iter().zip(row);
            let lasting = columns.filter(|(column, _)| !["created_at", "updated_at"].contains(&column.as_str()));
            lasting.map(|(column, value)| format!("{column}={value} ")).collect::<String>()
        };
        let mut rows: Vec<String> = table.rows.iter().map(text).collect();
        rows.sort();
        state.insert(name, rows);
    }
    state
}

/// Delivers all, one after the other or in crowds, each as often as it is listed.
async fn deliver(app: BuiltIn, path: &'static str, bodies: Vec<(String, Vec<u8>)>, crowd: usize) -> BuiltIn {
    let app = Arc::new(app);
    for chunk in bodies.chunks(crowd) {
        let mut under_way = tokio::task::JoinSet::new();
        for (name, body) in chunk.iter().cloned() {
            let app = app.clone();
            under_way.spawn(async move { (name, app.posted(path, body).await) });
        }
        while let Some(done) = under_way.join_next().await {
            let (name, reply) = done.expect("no panic");
            let is_waiting = reply.status.as_u16() == 404 && path != TILL && path != SHOP_PAYPAL;
            assert!(reply.status.as_u16() == 200 || is_waiting, "{name}: {} {}", reply.status, reply.text);
        }
    }
    app.settled().await;
    Arc::into_inner(app).expect("all is delivered")
}

async fn any_order_ends_the_same(folder: &str, path: &'static str) {
    let recorded = recorded(folder);
    assert!(recorded.len() >= 50, "{} files", recorded.len());
    let mut ends = Vec::new();
    for seed in 0..5 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bodies: Vec<(String, Vec<u8>)> =
            recorded.iter().map(|event| (event.name.clone(), event.body.clone())).collect();
        if seed > 0 {
            bodies.extend(bodies.clone().into_iter().filter(|_| rng.bool()));
            rng.shuffle(&mut bodies);
        }
        let app = BuiltIn::with(|mut endpoint: Endpoint| {
            endpoint.connected_accounts = vec!["acct_1O9tZ6GFgEK9GGWT".to_owned()];
            endpoint
        });
        let app = deliver(app.await, path, bodies, if seed % 2 == 0 { 1 } else { CROWD }).await;
        let unsettled = app.rows(
            "SELECT event_id, state, error_message FROM webhook_events WHERE state IN ('failed', 'dead', 'pending')",
        ).await;
        assert!(unsettled.is_empty(), "seed {seed}: {unsettled:?}");
        ends.push(state(&app).await);
        app.finish_sound().await;
    }
    let payments = ends[0]["payments"].len();
    assert_eq!(payments > 10, path == TILL || path == SHOP_PAYPAL, "{payments} payments at {path}");
    for (seed, end) in ends.iter().enumerate() {
        for (table, rows) in end {
            let expected = &ends[0][table];
            let differing = rows.iter().filter(|row| !expected.contains(row)).collect::<Vec<_>>();
            let missing = expected.iter().filter(|row| !rows.contains(row)).collect::<Vec<_>>();
            assert_eq!(rows, expected, "seed {seed}, {table}: {differing:#?} instead of {missing:#?}");
        }
    }
}

#[tokio::test]
async fn stripes_events_make_the_same_payments_in_any_order() {
    any_order_ends_the_same("events/stripe", TILL).await;
}

#[tokio::test]
async fn stripes_events_wait_in_any_order_where_nobody_asked() {
    any_order_ends_the_same("events/stripe", EXTERNAL_STRIPE).await;
}

#[tokio::test]
async fn paypals_events_make_the_same_payments_in_any_order() {
    any_order_ends_the_same("events/paypal", SHOP_PAYPAL).await;
}

#[tokio::test]
async fn paypals_events_wait_in_any_order_where_nobody_asked() {
    any_order_ends_the_same("events/paypal", EXTERNAL_PAYPAL).await;
}

/// Payment intents that share no object with another one: those that do, in events that
/// were made up, are one payment, which can be registered once.
fn lone_intents(recorded: &[Recorded]) -> BTreeSet<String> {
    let mut by_object: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Recorded { body, .. } in recorded {
        let event: Value = serde_json::from_slice(body).expect("JSON");
        let object = &event["data"]["object"];
        let id_of = |value: &Value| value.as_str().or(value["id"].as_str()).map(str::to_owned);
        let named = if object["object"] == "payment_intent" { &object["id"] } else { &object["payment_intent"] };
        let Some(intent) = id_of(named) else { continue };
        let of_intent = object["charges"]["data"].as_array().into_iter().flatten();
        let objects = [&object["id"], &object["charge"], &object["latest_charge"]].into_iter().chain(of_intent);
        for id in objects.filter_map(id_of) {
            by_object.entry(id).or_default().insert(intent.clone());
        }
    }
    let shared: BTreeSet<&String> = by_object.values().filter(|intents| intents.len() > 1).flatten().collect();
    by_object.values().flatten().filter(|intent| !shared.contains(intent)).cloned().collect()
}

/// The application registers what the events are about, each payment before, between or
/// after them.
async fn any_order_of_events_and_registrations_ends_the_same(path: &'static str) {
    let recorded = recorded("events/stripe");
    let intents = lone_intents(&recorded);
    assert!(intents.len() >= 20, "{} payment intents", intents.len());
    let mut ends = Vec::new();
    for seed in 0..4 {
        let app = BuiltIn::start().await;
        let mut steps: Vec<Result<&Recorded, &String>> =
            recorded.iter().map(Ok).chain(intents.iter().map(Err)).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut steps);
        for step in steps {
            match step {
                Ok(event) => {
                    let status = app.posted(path, event.body.clone()).await.status.as_u16();
                    assert!(status == 200 || (status == 404 && path != TILL), "{}: {status}", event.name);
                }
                Err(intent) => {
                    let order = json!({ "id": format!("of_{intent}"), "amount": 1500, "currency": "USD" });
                    app.made("/api/orders", order).await;
                    let payment = json!({ "id": format!("own_{intent}"), "gateway_transaction_id": intent });
                    app.made(&format!("/api/orders/of_{intent}/payments"), payment).await;
                }
            }
        }
        app.settled().await;
        ends.push(state(&app).await);
        app.finish_sound().await;
    }
    for (seed, end) in ends.iter().enumerate() {
        for (table, rows) in end {
            assert_eq!(rows, &ends[0][table], "seed {seed}, {table}");
        }
    }
}

#[tokio::test]
async fn events_and_registrations_end_the_same_where_events_make_payments() {
    any_order_of_events_and_registrations_ends_the_same(TILL).await;
}

#[tokio::test]
async fn events_and_registrations_end_the_same_where_they_wait() {
    any_order_of_events_and_registrations_ends_the_same(EXTERNAL_STRIPE).await;
}

/// Somebody changed the type of a recorded event and nothing else: what its object does not
/// say does not happen, and where the type is final somebody is to look at it.
#[tokio::test]
async fn a_type_that_was_swapped_is_flagged_and_moves_nothing() {
    let mut seen = 0;
    for Recorded { name, index, body } in recorded("events/stripe") {
        if index["grade"] != "mutated" || index["type_matches_payload"] != false {
            continue;
        }
        seen += 1;
        let app = deliver(BuiltIn::start().await, TILL, vec![(name.clone(), body)], 1).await;
        let payments = app.seen("/api/payments").await["data"].clone();
        let flags: Vec<Value> = payments.as_array().unwrap().iter().map(|payment| payment["flags"].clone()).collect();
        let event_type = index["type"].as_str().expect("its type");
        let is_final =
            ["payment_intent.succeeded", "payment_intent.canceled", "charge.captured", "charge.dispute.closed"];
        if is_final.contains(&event_type) && !flags.is_empty() {
            assert_eq!(flags, [json!(["type_disagrees"])], "{name}");
        }
        let claimed = ["paid", "canceled", "authorized", "refunded"];
        for payment in payments.as_array().unwrap() {
            let status = payment["payment_status"].as_str().unwrap();
            assert!(!claimed.contains(&status), "{name}: {event_type} made it {status}");
        }
        app.finish_sound().await;
    }
    assert!(seen >= 11, "{seen} events");
}

/// PayPal's own deliveries, with its own signatures and its own certificate, as of then.
#[tokio::test]
async fn what_paypal_signed_is_taken() {
    let pem = read(&corpus("events/paypal/CERT-360caa42-fca2a594-1a5f47cb.pem"));
    let address = hand_out(String::from_utf8(pem).expect("PEM")).await;
    let verifier = PaypalVerifier::by_certificate(Trust::public(None), Some(format!("http://{address}")));
    let id = Gateway::Paypal.secret(&SecretString::from("WEBHOOK_ID")).expect("an id");
    let endpoint = Endpoint::new(SHOP_PAYPAL, Gateway::Paypal, vec![id]);
    let app = TestApp::with([Endpoint { paypal: Some(Arc::new(verifier.expect("a client"))), ..endpoint }]).await;
    let mut deliveries = Vec::new();
    for (name, index, body) in files("events/paypal") {
        if index["grade"] == "paypal-signed-simulator" {
            let headers = read(&corpus("events/paypal").join(name.replace(".json", ".headers.json")));
            let headers: BTreeMap<String, String> = serde_json::from_slice(&headers).expect("JSON");
            let signed_at = Timestamp::parse(&headers["paypal-transmission-time"]).expect("a time");
            deliveries.push((signed_at, name, headers, body));
        }
    }
    assert!(deliveries.len() >= 14, "{} deliveries", deliveries.len());
    deliveries.sort();
    let send = async |headers: &BTreeMap<String, String>, body: &[u8]| {
        let of_paypal = headers.iter().filter(|(name, _)| name.starts_with("paypal-"));
        let of_paypal: Vec<(&str, &str)> = of_paypal.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        app.send(post(SHOP_PAYPAL, &of_paypal, body.to_vec())).await
    };
    for (signed_at, name, headers, body) in &deliveries {
        app.clock.set(signed_at.plus_micros(3_600_000_000));
        let reply = send(headers, body).await;
        assert_eq!(reply.status.as_u16(), 200, "{name}: {}", reply.text);
        let mut changed = body.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        send(headers, &changed).await.is_refusal(400);
    }
    app.clock.set(app.clock.now().plus_micros(5 * 86_400 * 1_000_000));
    for (_, _, headers, body) in &deliveries {
        send(headers, body).await.is_refusal(400);
    }
    app.finish().await;
}
