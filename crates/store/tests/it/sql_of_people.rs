//! The SQL that people run against the tables: SPEC.md's as it stands, and its SQLite twins.

use domain::Timestamp;
use store::{Attempt, NewEvent};

use crate::scratch::{NOW, Scratch, account, at, created, refund, succeeded, unrelated};

on_each!(
    the_monitoring_statements_give_right_numbers,
    times_compare_with_those_of_the_database,
    hostile_payloads_break_no_statement,
    every_name_of_the_contract_is_there,
);

const RATE: &str = "SELECT COUNT(*) AS total, SUM(CASE WHEN processed THEN 1 ELSE 0 END) AS successful,
       ROUND(100.0 * SUM(CASE WHEN processed THEN 1 ELSE 0 END) / COUNT(*), 2) AS success_rate
FROM webhook_events WHERE created_at > NOW() - INTERVAL '24 hours'";
/// How it says the same on SQLite.
const DAY_AGO: [(&str, &str); 1] = [("NOW() - INTERVAL '24 hours'", "datetime('now', '-24 hours')")];
const NEWEST: &str =
    "SELECT event_type, processed, created_at, processed_at FROM webhook_events ORDER BY created_at DESC LIMIT 10";
const TROUBLED: &str = "SELECT event_type, error_message, created_at FROM webhook_events
WHERE processed = false AND error_message IS NOT NULL ORDER BY created_at DESC";
const BY_PAYLOAD: &str = "SELECT * FROM webhook_events WHERE payload->>'type' = 'payment_intent.succeeded'";

/// The statement as the database takes it.
fn in_dialect(db: &Scratch, sql: &str) -> String {
    match db.is_postgres() {
        true => sql.to_owned(),
        false => DAY_AGO.iter().fold(sql.to_owned(), |sql, (postgres, sqlite)| sql.replace(postgres, sqlite)),
    }
}

async fn database_now(db: &Scratch) -> Timestamp {
    let sql = if db.is_postgres() { "SELECT extract(epoch FROM now())::bigint" } else { "SELECT unixepoch()" };
    Timestamp::from_seconds(db.value(sql).await.parse().unwrap())
}

fn received(mut event: NewEvent, at: Timestamp) -> NewEvent {
    event.received_at = at;
    event
}

async fn the_monitoring_statements_give_right_numbers(db: Scratch) {
    let now = database_now(&db).await;
    let ago = |hours: i64| now.plus_micros(-hours * 3_600_000_000);
    db.accepted(&[
        received(succeeded("evt_1", "pi_1", "6735"), ago(1)),
        received(unrelated("evt_2"), ago(2)),
        received(created("evt_3", "pi_2", ""), ago(3)),
        received(succeeded("evt_4", "pi_3", ""), ago(25)),
    ])
    .await;
    let batch: Vec<_> = db.claimed(now).await.iter().map(crate::scratch::prepare).collect();
    let failed = batch.iter().position(|event| event.object_id.as_deref() == Some("pi_2")).expect("it is claimed");
    let attempt = Attempt {
        seq: batch[failed].seq,
        due_at: batch[failed].due_at,
        number: 1,
        error: "corrupt".to_owned(),
        retry_at: Some(now.plus_micros(1)),
    };
    db.fail(&account("default"), attempt.clone(), now).await.unwrap();
    let sound: Vec<_> = batch.into_iter().filter(|event| event.seq != attempt.seq).collect();
    db.apply(&account("default"), sound.clone(), now).await.unwrap();

    assert_eq!(db.rows(&in_dialect(&db, RATE)).await, [["3", "2", "66.67"]]);
    let newest = db.rows(NEWEST).await;
    let told: Vec<_> = newest.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let expected = [
        ("payment_intent.succeeded", "1"),
        ("customer.created", "1"),
        ("payment_intent.created", "0"),
        ("payment_intent.succeeded", "1"),
    ];
    assert_eq!(told, expected, "newest first");
    assert!(newest[2][3] == "NULL" && newest[0][3] != "NULL", "processed_at where it is processed");
    let troubled = db.rows(TROUBLED).await;
    assert_eq!(
        (troubled.len(), &troubled[0][..2]),
        (1, &["payment_intent.created".to_owned(), "corrupt".to_owned()][..])
    );
    assert_eq!(db.rows(BY_PAYLOAD).await.len(), 2);
    assert_eq!(db.rows("SELECT payment_status FROM payments ORDER BY updated_at DESC LIMIT 1").await, [["paid"]]);
    let bookings = "SELECT * FROM bookings WHERE status = 'confirmed' AND payment_status = 'paid'";
    assert_eq!(db.rows(bookings).await.len(), 0);
}

async fn times_compare_with_those_of_the_database(db: Scratch) {
    let (function, units) = if db.is_postgres() { ("to_timestamp", "") } else { ("datetime", ", 'unixepoch'") };
    let second = |seconds: i64| format!("{function}({}{units})", at(seconds).seconds());
    db.accepted(&[received(succeeded("evt_1", "pi_1", "6735"), at(10).plus_micros(7))]).await;
    db.applied(at(20)).await;
    db.accepted(&[received(refund("evt_2", "re_1", "ch_1", "pi_1", 500), at(30))]).await;
    db.applied(at(40).plus_micros(999_999)).await;
    let columns = [
        ("created_at", "webhook_events WHERE event_id = 'evt_1'", 10),
        ("processed_at", "webhook_events WHERE event_id = 'evt_1'", 20),
        ("created_at", "payments", 20),
        ("updated_at", "payments", 40),
        ("captured_at", "payments", 0),
        ("created_at", "orders", 20),
        ("updated_at", "orders", 40),
        ("created_at", "refunds", 40),
        ("max(created_at)", "order_status_history", 40),
    ];
    for (column, from, seconds) in columns {
        let (before, after) = (second(seconds - 1), second(seconds + 1));
        let sql = format!("SELECT {column} > {before}, {column} < {after} FROM {from}");
        assert_eq!(db.rows(&sql).await, [["1", "1"]], "{column} of {from}");
    }
    assert_eq!(db.value("SELECT updated_at FROM payments").await, "2025-11-20 16:00:40.999999");
    assert_eq!(db.value("SELECT min(created_at) FROM webhook_events").await, "2025-11-20 16:00:10.000007");
}

/// One row that the database cannot read as JSON would fail the statement for all.
async fn hostile_payloads_break_no_statement(db: Scratch) {
    let hostile = [
        r#"{"id":"evt_0","object":"event","type":"payment_intent.succeeded","x":1e99999}"#.to_owned(),
        r#"{"id":"evt_1","object":"event","type":"payment_intent.succeeded","x":"\ud800"}"#.to_owned(),
        r#"{"id":"evt_2","object":"event","type":"payment_intent.succeeded","x":"\u0000"}"#.to_owned(),
        r#"{"id":"evt_3","object":"event","type":"payment_intent.succeeded","x":{"a":1,"a":2},"y":[],"y":{}}"#
            .to_owned(),
        format!(
            r#"{{"id":"evt_4","object":"event","type":"payment_intent.succeeded","x":{}1{}}}"#,
            "[".repeat(120),
            "]".repeat(120)
        ),
        format!(r#"{{"id":"evt_5","object":"event","type":"payment_intent.succeeded","x":{}}}"#, "9".repeat(5000)),
        "{\"id\":\"evt_6\",\"object\":\"event\",\"type\":\"payment_intent.succeeded\",\"x\":\"\u{7f}\u{2028}💶\"}\n\t "
            .to_owned(),
        r#" {"type":"payment_intent.succeeded","id":"evt_7","object":"event","x":-0.0e-0}"#.to_owned(),
    ];
    let mut taken = 0;
    for (index, body) in hostile.iter().enumerate() {
        if gateways::stripe::envelope(body.as_bytes()).is_ok() {
            let event_id = format!("evt_{index}");
            db.accepted(&[crate::scratch::delivery(&event_id, "payment_intent.succeeded", body.as_str())]).await;
            taken += 1;
        }
    }
    assert!(taken >= 6, "most of it is an event");
    db.applied(NOW).await;
    let unheld = "SELECT event_id FROM webhook_events WHERE payload IS NULL ORDER BY event_id";
    let unheld: Vec<String> = db.rows(unheld).await.into_iter().flatten().collect();
    // What PostgreSQL's jsonb cannot hold is kept, and its payload null.
    assert_eq!(unheld, if db.is_postgres() { vec!["evt_1", "evt_2"] } else { Vec::new() });
    assert_eq!(db.rows(BY_PAYLOAD).await.len(), taken - unheld.len());
    assert_eq!(db.rows(NEWEST).await.len(), taken);
}

async fn every_name_of_the_contract_is_there(db: Scratch) {
    let names = [
        "event_id, event_type, payload, processed, error_message, created_at, processed_at FROM webhook_events",
        "payment_status, dispute_status, captured_at, gateway_transaction_id, gateway_response, metadata, updated_at
         FROM payments",
        "payment_status FROM orders",
        "* FROM order_status_history",
        "* FROM refunds",
        "* FROM disputes",
        "status, payment_status FROM bookings",
        "* FROM notifications",
    ];
    for columns in names {
        db.rows(&format!("SELECT {columns}")).await;
    }
    db.lived_through(&[
        succeeded("evt_1", "pi_1", "6735"),
        refund("evt_2", "re_1", "ch_1", "pi_1", 500),
        crate::scratch::dispute("evt_3", "dp_1", "ch_1", "pi_1"),
    ])
    .await;
    let details = "SELECT gateway_response->'refunds'->0->>'gateway_refund_id', metadata->>'order_id',
                          metadata->'dispute'->>'gateway_dispute_id' FROM payments";
    assert_eq!(db.rows(details).await, [["re_1", "6735", "dp_1"]]);
}
