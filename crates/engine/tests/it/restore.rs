//! Putting state right that is not what the events say.

use std::sync::Arc;
use std::time::Duration;

use engine::{Engine, Upkeep};
use gateways::stripe::sample::{LifeKind, Overrides, Sampler};

use crate::it::scratch::{NOW, Scratch, as_gateways_deliver, lives, until};

async fn lived(payments: usize) -> Scratch {
    let db = Scratch::new().await;
    for batch in as_gateways_deliver(&lives(11, payments), 11).chunks(97) {
        db.accepted(batch, NOW).await;
        db.apply_all().await;
    }
    db
}

async fn restored(db: &Scratch) -> engine::rebuild::Comparison {
    engine::rebuild::restore(db, &Arc::default(), NOW.plus_micros(1)).await.expect("it derives")
}

/// What somebody is to be told of.
async fn notices(db: &Scratch) -> Vec<String> {
    db.rows("SELECT seq, subject_id, notice FROM history WHERE notice IS NOT NULL ORDER BY seq").await
}

const PAID: &str = "(SELECT id FROM payment WHERE status = 'paid' AND dispute_status = 'none' AND amount_refunded = 0 ORDER BY id LIMIT 1)";
const OF_PAID: &str =
    "(SELECT f.seq FROM event_facts f JOIN payment p ON p.account = f.account AND p.number = f.payment
     WHERE p.status = 'paid' AND p.dispute_status = 'none' AND p.amount_refunded = 0 ORDER BY p.id, f.seq LIMIT 1)";

#[tokio::test]
async fn whatever_was_done_to_it_is_put_right_and_nobody_is_told() {
    let db = Scratch::new().await;
    let mut sampler = Sampler::new(31);
    for kind in LifeKind::ALL {
        let life = sampler.life(kind, NOW, &Overrides::default());
        db.accepted(&as_gateways_deliver(&life.events, 1), NOW).await;
    }
    db.apply_all().await;
    let (state, told) = (db.state().await, notices(&db).await);
    let payment = |set: &str| format!("UPDATE payment SET {set} WHERE id = {PAID}");
    let of_one = |sql: &str| sql.to_owned();
    let cases = [
        (payment("status = 'failed'"), 1),
        (payment("dispute_status = 'lost'"), 1),
        (payment("amount = amount + 1, currency = 'EUR'"), 0),
        (payment("amount_captured = 1"), 0),
        (payment("amount_refunding = 1, failed_attempts = 9"), 0),
        (payment("captured_at = NULL"), 0),
        (payment("hold_reason = 'amount_mismatch'"), 0),
        (payment("flags = '[\"refund_missing\"]'"), 0),
        (payment("metadata = '{\"dispute\":1}'"), 0),
        (payment("gateway_response = '{}', customer = 'x', method = 'x', description = 'x'"), 0),
        (payment("gateway_transaction_id = 'pi_x', transaction_id = 'x', external_id = 'x'"), 0),
        (payment("failure_code = 'x', failure_message = 'x'"), 0),
        (payment("order_id = 'x', booking_id = 'x'"), 0),
        (payment("visible = false"), 0),
        (payment("gateway = 'paypal', mode = 'test'"), 0),
        (payment("facts = '{\"creates\":true}'"), 0),
        (payment("facts = 'nonsense'"), 0),
        (of_one(&format!("DELETE FROM payment WHERE id = {PAID}")), 1),
        (of_one("UPDATE refund SET amount = amount + 1, gateway_refund_id = 'x' WHERE id = (SELECT min(id) FROM refund)"), 0),
        (of_one("UPDATE refund SET status = 'canceled' WHERE id = (SELECT min(id) FROM refund)"), 1),
        (of_one("DELETE FROM refund WHERE id = (SELECT min(id) FROM refund)"), 1),
        (of_one("UPDATE refund SET payment_id = 'pay_nobody' WHERE id = (SELECT min(id) FROM refund)"), 0),
        (
            of_one(
                "INSERT INTO refund (account, id, payment_id, gateway_refund_id, status, amount, created_at, updated_at)
                 VALUES ('default', 'zzz', 'pay_nobody', 're_x', 'succeeded', 5, 1, 1)",
            ),
            0,
        ),
        (of_one("UPDATE dispute SET status = 'lost', net = 7 WHERE id = (SELECT min(id) FROM dispute WHERE status <> 'lost')"), 1),
        (of_one("DELETE FROM dispute WHERE id = (SELECT min(id) FROM dispute)"), 1),
        (of_one("UPDATE merchant_order SET payment_status = 'canceled' WHERE id = (SELECT id FROM merchant_order WHERE payment_status = 'paid' ORDER BY id LIMIT 1)"), 1),
        (of_one("UPDATE merchant_order SET amount_paid = amount_paid + 1 WHERE id = (SELECT min(id) FROM merchant_order)"), 0),
        (of_one("DELETE FROM merchant_order WHERE id = (SELECT min(id) FROM merchant_order)"), 1),
        (
            of_one(
                "INSERT INTO merchant_order (account, id, payment_status, amount_paid, amount_refunded, created_at, updated_at)
                 VALUES ('default', 'extra', 'paid', 1, 0, 1, 1)",
            ),
            0,
        ),
        (of_one("DELETE FROM gateway_object WHERE object_id = (SELECT min(object_id) FROM gateway_object)"), 0),
        (of_one("UPDATE gateway_object SET payment_id = 'x' WHERE object_id = (SELECT min(object_id) FROM gateway_object)"), 0),
        (
            of_one(
                "INSERT INTO gateway_object (account, gateway, mode, object_id, kind, payment_id)
                 VALUES ('default', 'stripe', 'live', 'pi_x', 'intent', 'pay_nobody')",
            ),
            0,
        ),
        (format!("UPDATE event_facts SET facts = '{{}}' WHERE seq = {OF_PAID}"), 0),
        (format!("UPDATE event_facts SET facts = 'nonsense' WHERE seq = {OF_PAID}"), 0),
        (format!("UPDATE event_facts SET object_id = 'x' WHERE seq = {OF_PAID}"), 0),
        (format!("UPDATE event_facts SET payment = NULL WHERE seq = {OF_PAID}"), 0),
        (format!("UPDATE event_facts SET payment = 987654 WHERE seq = {OF_PAID}"), 0),
        (format!("DELETE FROM event_facts WHERE seq = {OF_PAID}"), 0),
    ];
    for (sql, statuses) in cases {
        let history = db.rows("SELECT * FROM history ORDER BY seq").await;
        db.tamper(&sql).await;
        let found = engine::rebuild::check(&db).await.unwrap().differences;
        assert!(!found.is_empty(), "{sql}");
        assert_eq!(restored(&db).await.differences, found, "{sql}");
        assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, [], "{sql}");
        assert_eq!(db.state().await, state, "{sql}");
        assert_eq!(notices(&db).await, told, "{sql}");
        let now = db.rows("SELECT * FROM history ORDER BY seq").await;
        assert_eq!(now[..history.len()], history, "history is not rewritten: {sql}");
        assert_eq!(now.len() - history.len(), statuses, "a row for each status that was wrong: {sql}");
    }
    let caused = "SELECT count(*) FROM history WHERE event_seq = 0 AND notice IS NOT NULL";
    assert_eq!(db.rows(caused).await, ["0"]);
}

#[tokio::test]
async fn all_of_it_can_be_gone() {
    let db = lived(120).await;
    let (state, told) = (db.state().await, notices(&db).await);
    for table in ["payment", "refund", "dispute", "merchant_order", "gateway_object"] {
        db.tamper(&format!("DELETE FROM {table}")).await;
    }
    assert!(db.state().await.is_empty());
    restored(&db).await;
    assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, []);
    assert_eq!(db.state().await, state);
    // The same events again, and as other events: nothing is new, and nothing is said again.
    db.replay_events(&Default::default(), NOW).await.unwrap();
    db.apply_all().await;
    assert_eq!(notices(&db).await, told);
    assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, []);
}

#[tokio::test]
async fn facts_are_enough_and_without_them_nothing_is_touched() {
    let db = lived(30).await;
    let state = db.state().await;
    db.tamper("DELETE FROM event_body").await;
    db.tamper("UPDATE payment SET status = 'failed'").await;
    assert!(!restored(&db).await.differences.is_empty());
    assert_eq!(db.state().await, state);

    db.tamper("DELETE FROM event_facts WHERE seq = (SELECT min(seq) FROM event_facts WHERE payment IS NOT NULL)").await;
    let status = "SELECT status, count(*) FROM payment GROUP BY status ORDER BY status";
    db.tamper("UPDATE payment SET status = 'canceled'").await;
    let before = db.rows(status).await;
    let found = restored(&db).await;
    assert_eq!((found.lost.len(), found.lost[0].stored.as_str()), (1, "no facts"));
    assert_eq!(db.rows(status).await, before, "what that event said would be missing");
}

/// Another process rebuilds while deliveries come in.
#[tokio::test]
async fn nothing_is_lost_that_comes_in_meanwhile() {
    let db = lived(40).await;
    let twin = Scratch::new().await;
    let deliveries = as_gateways_deliver(&lives(12, 150), 12);
    let aside = db.opened_again().await;
    let engine = db.engine();
    // One row, so that it waits for no lock while it holds one.
    let spoil = "UPDATE payment SET amount_captured = amount_captured + 1, status = 'failed'
                 WHERE id = (SELECT min(id) FROM payment)";
    let submitting = async {
        for batch in deliveries.chunks(23) {
            db.accepted(batch, NOW).await;
            db.tamper(spoil).await;
        }
    };
    let rebuilding = async {
        for _ in 0..6 {
            let done = engine::rebuild::restore(&aside, &Arc::default(), NOW).await.unwrap();
            assert_eq!(done.lost, []);
        }
    };
    tokio::join!(submitting, rebuilding);
    db.settled().await;
    engine.stop().await;
    restored(&db).await;
    assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, []);
    // As if nobody had touched it.
    for batch in as_gateways_deliver(&lives(11, 40), 11).chunks(97).chain(deliveries.chunks(23)) {
        twin.accepted(batch, NOW).await;
    }
    twin.apply_all().await;
    assert_eq!(db.state().await, twin.state().await);
    // What only adds to a payment is applied after it and ignored before.
    let done = "SELECT state IN ('applied', 'ignored'), count(*) FROM event GROUP BY 1";
    assert_eq!(db.rows(done).await, twin.rows(done).await);
    let once = "SELECT subject_id FROM history WHERE notice IN ('payment.paid', 'order.paid')
                GROUP BY subject_id, notice HAVING count(*) > 1";
    assert!(db.rows(once).await.is_empty(), "said once, ever");
}

/// By the clock; what they stated stays, and what comes again is no news.
#[tokio::test]
async fn bodies_go_with_time_and_state_can_still_be_derived() {
    let db = lived(20).await;
    let (state, told) = (db.state().await, notices(&db).await);
    let bodies = async || db.rows("SELECT count(*) FROM event_body").await.remove(0);
    let stored = bodies().await;
    let kept_for = Duration::from_secs(90 * 24 * 60 * 60);
    let upkeep = || Upkeep { bodies_kept_for: Some(kept_for), ..Upkeep::default() };
    let engine = Engine::start_with(db.opened_again().await, db.clock.clone(), upkeep());
    engine.stop().await;
    assert_eq!(bodies().await, stored);

    let engine = Engine::start_with(db.opened_again().await, db.clock.clone(), upkeep());
    db.clock.set(NOW.plus_micros(91 * 24 * 60 * 60 * 1_000_000));
    until(async || bodies().await == "0", async || "there are bodies left".to_owned()).await;
    db.accepted(&as_gateways_deliver(&lives(11, 20), 11), db.clock.now()).await;
    db.settled().await;
    engine.stop().await;
    assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, []);
    assert_eq!((db.state().await, notices(&db).await), (state.clone(), told));
    db.tamper("DELETE FROM payment").await;
    restored(&db).await;
    assert_eq!(db.state().await, state);
    let chain = db.verify_chain(&Default::default()).await.unwrap();
    assert_eq!(chain.faults, []);
}
