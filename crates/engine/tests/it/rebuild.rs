//! Deriving all state again, to find what differs.

use crate::it::scratch::{NOW, Scratch, as_gateways_deliver, lives};

async fn lived(payments: usize) -> Scratch {
    let db = Scratch::new().await;
    for batch in as_gateways_deliver(&lives(11, payments), 11).chunks(97) {
        db.accepted(batch, NOW).await;
        db.apply_all().await;
    }
    db
}

#[tokio::test]
async fn a_sound_store_has_no_differences() {
    let db = lived(250).await;
    let comparison = engine::rebuild::check(&db).await.unwrap();
    assert_eq!(comparison.differences, []);
    assert_eq!((comparison.payments, comparison.orders), (250, 250));
    assert_eq!(comparison.events, lives(11, 250).len() as u64);

    db.tamper("DELETE FROM event_body").await;
    assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, [], "facts outlive bodies");
}

#[tokio::test]
async fn an_empty_store_has_no_differences() {
    let db = Scratch::new().await;
    let comparison = engine::rebuild::check(&db).await.unwrap();
    assert_eq!((comparison.events, comparison.differences.len()), (0, 0));
}

#[tokio::test]
async fn whatever_was_done_to_it_is_found() {
    let db = lived(60).await;
    let paid = "(SELECT id FROM payment WHERE status = 'paid' AND amount_refunded = 0 ORDER BY id LIMIT 1)";
    let order = "(SELECT id FROM merchant_order WHERE payment_status = 'paid' ORDER BY id LIMIT 1)";
    let cases = [
        ("a status", format!("UPDATE payment SET status = 'failed' WHERE id = {paid}"), "payment pay_", "paid"),
        ("what was captured", format!("UPDATE payment SET amount_captured = 1 WHERE id = {paid}"), "payment pay_", "paid"),
        ("what was refunded", format!("UPDATE payment SET amount_refunded = 1 WHERE id = {paid}"), "payment pay_", "paid"),
        ("a dispute", format!("UPDATE payment SET dispute_status = 'lost' WHERE id = {paid}"), "payment pay_", "paid"),
        ("visibility", format!("UPDATE payment SET visible = false WHERE id = {paid}"), "payment pay_", "paid"),
        ("its order", format!("UPDATE payment SET order_id = 'x' WHERE id = {paid}"), "payment pay_", "paid"),
        ("its facts", format!("UPDATE payment SET facts = '{{\"creates\":true}}' WHERE id = {paid}"), "payment pay_", "paid"),
        ("a payment is gone", format!("DELETE FROM payment WHERE id = {paid}"), "payment pay_", "paid"),
        ("an order's status", format!("UPDATE merchant_order SET payment_status = 'failed' WHERE id = {order}"), "order ", "paid"),
        ("what was paid", format!("UPDATE merchant_order SET amount_paid = 0 WHERE id = {order}"), "order ", "paid"),
        ("an order is gone", format!("DELETE FROM merchant_order WHERE id = {order}"), "order ", "paid"),
        (
            "an order too many",
            "INSERT INTO merchant_order (account, id, payment_status, amount_paid, amount_refunded, created_at, updated_at)
             VALUES ('default', 'extra', 'paid', 1, 0, 1, 1)"
                .to_owned(),
            "order extra",
            "nothing",
        ),
        (
            "a payment too many",
            "INSERT INTO payment (account, id, gateway, mode, visible, status, dispute_status, amount, currency, amount_captured, amount_refunded,
                amount_refunding, captured_at, gateway_transaction_id, customer, method, description, failure_code,
                failure_message, failed_attempts, gateway_response, metadata, flags, facts, created_at, updated_at)
             SELECT account, 'pay_extra', gateway, mode, visible, status, dispute_status, amount, currency, amount_captured, amount_refunded,
                amount_refunding, captured_at, gateway_transaction_id, customer, method, description, failure_code,
                failure_message, failed_attempts, gateway_response, metadata, flags, facts, created_at, updated_at
             FROM payment LIMIT 1"
                .to_owned(),
            "payment pay_extra",
            "nothing",
        ),
    ];
    for (name, sql, subject, derived) in cases {
        let undo = Undo::of(&db).await;
        db.tamper(&sql).await;
        let differences = engine::rebuild::check(&db).await.unwrap().differences;
        assert_eq!(differences.len(), 1, "{name}: {differences:#?}");
        assert!(differences[0].subject.starts_with(subject), "{name}: {differences:?}");
        assert!(differences[0].derived.starts_with(derived), "{name}: {differences:?}");
        undo.now(&db).await;
        assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, [], "{name}: undone");
    }
}

/// Copies of the two tables that are tampered with.
struct Undo;

impl Undo {
    async fn of(db: &Scratch) -> Self {
        let copy = "DROP TABLE IF EXISTS payment_copy; DROP TABLE IF EXISTS order_copy;
                    CREATE TABLE payment_copy AS SELECT * FROM payment;
                    CREATE TABLE order_copy AS SELECT * FROM merchant_order;";
        db.database().execute(copy).await;
        Self
    }

    async fn now(self, db: &Scratch) {
        let back = "DELETE FROM payment; DELETE FROM merchant_order;
                    INSERT INTO payment SELECT * FROM payment_copy; INSERT INTO merchant_order SELECT * FROM order_copy;";
        db.database().execute(back).await;
    }
}
