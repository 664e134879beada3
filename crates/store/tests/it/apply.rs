//! From events to state: together or not at all, and once.

use domain::{Outcome, PaymentStatus, Subject};
use store::{EventState, PaymentFilter, Prepared, Settled};

use crate::scratch::{NOW, Scratch, account, at, created, dispute, prepare, refund, session, succeeded, unrelated};

on_each!(
    a_batch_changes_all_of_its_state,
    an_object_may_change_hands_twice_in_a_batch,
    apply_of_nothing_is_nothing,
    a_settled_event_is_taken,
    two_workers_settle_an_event_once,
    an_account_reaches_no_other,
    an_event_may_come_before_what_it_is_about,
    a_preview_writes_nothing,
    claims_are_due_in_order_and_bounded,
    accounts_are_due_with_their_events,
    an_order_has_payments_of_several_batches,
    facts_outlive_bodies,
);

async fn a_batch_changes_all_of_its_state(db: Scratch) {
    let batch = [
        created("evt_1", "pi_1", "6735"),
        succeeded("evt_2", "pi_1", "6735"),
        refund("evt_3", "re_1", "ch_1", "pi_1", 500),
        dispute("evt_4", "dp_1", "ch_1", "pi_1"),
        unrelated("evt_5"),
    ];
    db.accepted(&batch).await;
    let settled = db.applied(at(7)).await;
    assert_eq!(settled.len(), 5);
    let changes: Vec<Vec<_>> = settled.iter().map(changes_of).collect();
    let pending = [(Subject::Payment, "pending"), (Subject::Order, "pending")];
    let paid = [(Subject::Payment, "paid"), (Subject::Order, "paid")];
    assert_eq!(changes[0], pending);
    assert_eq!(changes[1], paid);
    let partly = "partially_refunded";
    assert_eq!(changes[2], [(Subject::Payment, partly), (Subject::Refund, "succeeded"), (Subject::Order, partly)]);
    assert_eq!(changes[3], [(Subject::PaymentDispute, "open"), (Subject::Dispute, "open")]);
    assert_eq!(settled[4], Settled::Done(Outcome::Ignored));

    let tables = [
        ("SELECT event_id, state, processed, processed_at FROM webhook_events ORDER BY id", {
            let row = |id: &str, state: &str| format!("evt_{id} {state} 1 2025-11-20 16:00:07.000000");
            vec![
                row("1", "applied"),
                row("2", "applied"),
                row("3", "applied"),
                row("4", "applied"),
                row("5", "ignored"),
            ]
        }),
        (
            "SELECT payment_status, dispute_status, amount, currency, amount_captured, amount_refunded, order_id,
                    gateway_transaction_id FROM payments",
            vec!["partially_refunded open 1999 USD 1999 500 6735 pi_1".to_owned()],
        ),
        (
            "SELECT id, payment_status, amount_paid, amount_refunded FROM orders",
            vec!["6735 partially_refunded 1999 500".to_owned()],
        ),
        (
            "SELECT gateway_refund_id, charge_id, status, amount, currency, reason FROM refunds",
            vec!["re_1 ch_1 succeeded 500 USD requested_by_customer".to_owned()],
        ),
        (
            "SELECT gateway_dispute_id, charge_id, status, amount, currency, reason, net FROM disputes",
            vec!["dp_1 ch_1 open 1999 USD fraudulent -3499".to_owned()],
        ),
        (
            "SELECT order_id, from_status, to_status, event_id FROM order_status_history ORDER BY id",
            vec![
                "6735 NULL pending evt_1".to_owned(),
                "6735 pending paid evt_2".to_owned(),
                "6735 paid partially_refunded evt_3".to_owned(),
            ],
        ),
    ];
    for (sql, expected) in tables {
        let rows: Vec<String> = db.rows(sql).await.iter().map(|row| row.join(" ")).collect();
        assert_eq!(rows, expected, "{sql}");
    }
}

fn changes_of(settled: &Settled) -> Vec<(Subject, &'static str)> {
    match settled {
        Settled::Done(Outcome::Applied { changes, .. }) => changes.iter().map(|c| (c.subject, c.to)).collect(),
        Settled::Done(_) | Settled::Taken => Vec::new(),
    }
}

/// A session is its own payment until its intent is named.
async fn an_object_may_change_hands_twice_in_a_batch(db: Scratch) {
    db.accepted(&[session("evt_1", "cs_1", "", "6735"), session("evt_2", "cs_1", "pi_1", "6735")]).await;
    assert_eq!(db.applied(at(7)).await.len(), 2);
    let owners = "SELECT o.object_id, p.gateway_transaction_id FROM gateway_object o
                  JOIN payment p ON p.account = o.account AND p.id = o.payment_id ORDER BY o.object_id";
    assert_eq!(db.rows(owners).await, [["cs_1", "pi_1"], ["pi_1", "pi_1"]]);
    assert_eq!(db.value("SELECT count(*) FROM payment_alias").await, "1", "it was another payment in between");
}

async fn apply_of_nothing_is_nothing(db: Scratch) {
    let before = db.dump().await;
    assert_eq!(db.apply(&account("default"), Vec::new(), NOW).await.unwrap(), []);
    assert_eq!(db.dump().await, before);
}

async fn a_settled_event_is_taken(db: Scratch) {
    db.accepted(&[succeeded("evt_1", "pi_1", "6735"), unrelated("evt_2")]).await;
    let batch: Vec<Prepared> = db.claimed(NOW).await.iter().map(prepare).collect();
    db.apply(&account("default"), batch.clone(), NOW).await.unwrap();
    let before = db.dump().await;
    let again = db.apply(&account("default"), batch.clone(), at(60)).await.unwrap();
    assert_eq!(again, [Settled::Taken, Settled::Taken]);
    assert_eq!(db.dump().await, before, "not even a time changes");

    db.accepted(&[created("evt_3", "pi_3", "")]).await;
    let mut mixed = batch;
    mixed.extend(db.claimed(NOW).await.iter().map(prepare));
    let settled = db.apply(&account("default"), mixed.clone(), NOW).await.unwrap();
    assert_eq!(settled[..2], [Settled::Taken, Settled::Taken]);
    assert!(matches!(&settled[2], Settled::Done(Outcome::Applied { .. })), "{settled:?}");
}

async fn two_workers_settle_an_event_once(db: Scratch) {
    let batch: Vec<_> = (0..40).map(|n| succeeded(&format!("evt_{n}"), &format!("pi_{n}"), "6735")).collect();
    db.accepted(&batch).await;
    let prepared: Vec<Prepared> = db.claimed(NOW).await.iter().map(prepare).collect();
    let other = db.opened_again().await; // Not even the same pool.
    let default = account("default");
    let (ours, theirs) =
        tokio::join!(db.apply(&default, prepared.clone(), NOW), other.apply(&default, prepared.clone(), NOW));
    for (ours, theirs) in ours.unwrap().iter().zip(&theirs.unwrap()) {
        let done = [ours, theirs].iter().filter(|settled| matches!(settled, Settled::Done(_))).count();
        assert_eq!(done, 1, "{ours:?} {theirs:?}");
    }
    assert_eq!(db.value("SELECT count(*) FROM history WHERE subject = 'payment'").await, "40");
    assert_eq!(db.value("SELECT amount_paid FROM orders").await, (40 * 1999).to_string());
}

async fn an_account_reaches_no_other(db: Scratch) {
    db.accepted(&[succeeded("evt_1", "pi_1", "6735")]).await;
    let batch: Vec<Prepared> = db.claimed(NOW).await.iter().map(prepare).collect();
    let shop = account("shop");
    assert_eq!(db.apply(&shop, batch.clone(), NOW).await.unwrap(), [Settled::Taken]);
    let seq = batch[0].seq;
    assert!(db.show_event(&shop, seq).await.unwrap().is_none());
    assert!(!db.replay_event(&shop, seq, NOW).await.unwrap());
    assert_eq!(db.events_to_apply(&shop, &[seq]).await.unwrap().len(), 0);
    db.applied(NOW).await;
    let id = db.value("SELECT id FROM payments").await;
    assert!(db.show_payment(Some(&shop), &id).await.unwrap().is_none());
    assert!(db.show_order(Some(&shop), "6735").await.unwrap().is_none());
    assert_eq!(db.history_of_payment(&shop, &id).await.unwrap(), []);
    assert_eq!(db.history_of_order(&shop, "6735").await.unwrap(), []);
}

async fn an_event_may_come_before_what_it_is_about(db: Scratch) {
    db.lived_through(&[refund("evt_1", "re_1", "ch_1", "pi_1", 1999)]).await;
    assert_eq!(db.value("SELECT count(*) FROM payments").await, "0", "nobody saw a payment yet");
    assert_eq!(db.value("SELECT count(*) FROM orders").await, "0");
    db.lived_through(&[succeeded("evt_2", "pi_1", "6735")]).await;
    assert_eq!(db.value("SELECT payment_status FROM payments").await, "refunded");
    assert_eq!(db.value("SELECT payment_status FROM orders").await, "refunded");
    assert_eq!(db.value("SELECT payment_id = (SELECT id FROM payments) FROM refunds").await, "1");
}

async fn a_preview_writes_nothing(db: Scratch) {
    db.lived_through(&[created("evt_1", "pi_1", "6735")]).await;
    db.accepted(&[succeeded("evt_2", "pi_1", "6735"), unrelated("evt_3")]).await;
    let before = db.dump().await;
    let batch: Vec<Prepared> = db.claimed(NOW).await.iter().map(prepare).collect();
    let foreseen = db.preview(&account("default"), batch).await.unwrap();
    assert_eq!(db.dump().await, before);
    let settled = db.applied(NOW).await;
    assert_eq!(foreseen.into_iter().map(Settled::Done).collect::<Vec<_>>(), settled, "what it said came true");
}

async fn claims_are_due_in_order_and_bounded(db: Scratch) {
    let arriving = |event_id: &str, seconds: i64| {
        let mut event = unrelated(event_id);
        event.received_at = at(seconds);
        event
    };
    db.accepted(&[arriving("evt_c", 30), arriving("evt_a", 10), arriving("evt_d", 99), arriving("evt_b", 10)]).await;
    let cases: [(i64, u32, &[&str]); 5] = [
        (9, 10, &[]),
        (10, 10, &["evt_a", "evt_b"]),
        (30, 10, &["evt_a", "evt_b", "evt_c"]),
        (30, 2, &["evt_a", "evt_b"]),
        (1000, 0, &[]),
    ];
    for (seconds, limit, expected) in cases {
        let claimed = db.claim(&account("default"), store::Place::START, at(seconds), limit).await.unwrap();
        let ids: Vec<&str> = claimed.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(ids, expected, "after {seconds} s, at most {limit}");
    }
    let seqs: Vec<i64> = db.claimed(at(1000)).await.iter().map(|event| event.seq).collect();
    let named = db.events_to_apply(&account("default"), &[seqs[3], seqs[0], 4711]).await.unwrap();
    let ids: Vec<&str> = named.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(ids, ["evt_a", "evt_d"], "due or not");
}

async fn accounts_are_due_with_their_events(db: Scratch) {
    let mut batch = Vec::new();
    for (name, seconds) in [("b", 10), ("a", 20), ("a", 15), ("c", 0)] {
        let mut event = unrelated(&format!("evt_{name}_{seconds}"));
        event.account = account(name);
        event.received_at = at(seconds);
        batch.push(event);
    }
    batch[3].ignored_because = Some("its mode is not the endpoint's");
    db.accepted(&batch).await;
    for (seconds, names) in [(0, &[][..]), (10, &["b"]), (15, &["a", "b"]), (100, &["a", "b"])] {
        let due = db.accounts_due(at(seconds)).await.unwrap();
        assert_eq!(due.iter().map(|account| account.as_str()).collect::<Vec<_>>(), names, "after {seconds} s");
    }
}

async fn an_order_has_payments_of_several_batches(db: Scratch) {
    db.lived_through(&[
        succeeded("evt_1", "pi_1", "6735"),
        succeeded("evt_2", "pi_2", "6735"),
        refund("evt_3", "re_1", "ch_1", "pi_1", 1999),
        session("evt_4", "cs_1", "pi_3", "6735"),
    ])
    .await;
    let order = db.show_order(None, "6735").await.unwrap().expect("it is there");
    assert_eq!(order.payment_status, PaymentStatus::PartiallyRefunded);
    assert_eq!((order.amount_paid, order.amount_refunded), (3 * 1999, 1999));
    let filter = PaymentFilter { order_id: Some("6735".to_owned()), ..PaymentFilter::default() };
    assert_eq!(db.list_payments(&filter, 10).await.unwrap().len(), 3);
}

async fn facts_outlive_bodies(db: Scratch) {
    db.lived_through(&[succeeded("evt_1", "pi_1", "6735")]).await;
    db.tamper("DELETE FROM event_body").await;
    let again = db.accepted(&[succeeded("evt_1", "pi_1", "6735")]).await;
    assert_eq!(again, [store::Receipt::Duplicate], "a late retry is still one");
    let statements = db.stated().await;
    assert_eq!(statements.len(), 1);
    assert!(statements[0].bodies == 0 && statements[0].facts.intents.contains_key("pi_1"));
    assert_eq!(db.list_events(&Default::default(), 1).await.unwrap()[0].state, EventState::Applied);
}
