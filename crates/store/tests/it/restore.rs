//! Deriving state again, to compare it or to put it right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::booking::{BookingTerms, OnConflict};
use domain::lattice::Join;
use domain::money::Minor;
use domain::{Currency, Days, Money, Registration, Terms};
use store::{Comparison, NewId, NewOrder, Restated, StoredEvent};

use crate::scratch::{Scratch, account, at, refund, session, succeeded};

on_each!(
    a_sound_account_differs_nowhere,
    what_was_registered_is_part_of_it,
    each_account_is_derived_by_itself,
    what_came_since_is_left_to_be_applied,
);

fn restate(event: &StoredEvent) -> Option<Restated> {
    let mut whole = gateways::Statement::default();
    for body in &event.bodies {
        let statement = gateways::stripe::normalise(body).ok()?;
        whole.facts.join(statement.facts);
        whole.object_id = whole.object_id.or(statement.object_id);
        whole.needs_fetch |= statement.needs_fetch;
    }
    whole.facts.creates = event.creates && !whole.facts.is_empty();
    whole.facts.note_names();
    Some(Restated { facts: whole.facts, object_id: whole.object_id, needs_fetch: whole.needs_fetch })
}

async fn checked(db: &Scratch, of: &str) -> Comparison {
    db.check_state(&account(of), restate, Arc::default()).await.unwrap()
}

async fn restored(db: &Scratch, of: &str) -> Comparison {
    db.restore_state(&account(of), restate, Arc::default(), at(99)).await.unwrap()
}

/// Two bookings of the same days, of which the second lost; an order; a registered payment.
async fn registered(db: &Scratch) {
    let default = &account("default");
    let (amount, currency) = (Minor::new(1999).unwrap(), Currency::parse("USD").unwrap());
    let due = Money { amount, currency };
    let order = NewOrder { id: "6735".to_owned(), due, customer: None, metadata: None };
    db.register_order(default, order, None, at(0)).await.unwrap().unwrap();
    db.register_resource(default, "house".to_owned(), "House".to_owned(), None, at(0)).await.unwrap().unwrap();
    for id in ["1", "2"] {
        let terms = BookingTerms {
            resource_id: "house".to_owned(),
            days: Days::parse("2026-12-01", "2026-12-05").unwrap(),
            amount: Some(amount),
            currency: Some(currency),
            on_conflict: OnConflict::Cancel,
            session_ids: BTreeSet::from([format!("cs_{id}")]),
            hinted_session_ids: BTreeSet::new(),
            released: false,
        };
        db.register_booking(default, id.to_owned(), terms, None, at(0)).await.unwrap().unwrap();
    }
    let order_id = Some("6735".to_owned());
    let terms = Terms { order_id, amount, currency, gateway: None, method: None, metadata: BTreeMap::new() };
    let mut registration = Registration::new(terms);
    registration.gateway_ids.insert("pi_9".to_owned());
    db.register_payment(default, NewId::Given("own".to_owned()), registration, None, at(0)).await.unwrap().unwrap();
    db.lived_through(&[
        session("evt_1", "cs_1", "pi_1", ""),
        session("evt_2", "cs_2", "pi_2", ""),
        succeeded("evt_3", "pi_9", "6735"),
        refund("evt_4", "re_1", "ch_9", "pi_9", 500),
    ])
    .await;
}

async fn a_sound_account_differs_nowhere(db: Scratch) {
    registered(&db).await;
    let before = db.dump().await;
    let progress = Arc::new(AtomicU64::new(0));
    let found = db.check_state(&account("default"), restate, progress.clone()).await.unwrap();
    assert_eq!(found.differences, []);
    assert!(found.is_sound());
    assert_eq!((found.events, found.payments, found.orders, found.bookings), (4, 3, 1, 2));
    assert_eq!(progress.load(Ordering::Relaxed), 4);
    assert!(restored(&db, "default").await.is_sound());
    assert_eq!(db.dump().await, before, "and nothing is written");
}

async fn what_was_registered_is_part_of_it(db: Scratch) {
    registered(&db).await;
    let untouched = async || {
        let bookings =
            db.rows("SELECT id, status, payment_status, reason, claim, lost_to FROM booking ORDER BY id").await;
        let payments =
            db.rows("SELECT id, status, amount_refunded, order_id, booking_id FROM payment ORDER BY id").await;
        let names = db.rows("SELECT name, kind, payment_id FROM payment_name ORDER BY name, kind").await;
        let orders = db.rows("SELECT id, payment_status, amount_paid, amount_due FROM merchant_order").await;
        (bookings, payments, names, orders)
    };
    let before = untouched().await;
    let told = "SELECT count(*) FROM history WHERE notice IS NOT NULL";
    let notices = db.value(told).await;
    for (sql, subject) in [
        ("UPDATE booking SET status = 'cancelled', reason = 'requested' WHERE id = '1'", "booking 1"),
        ("UPDATE booking SET payment_status = 'failed' WHERE id = '2'", "booking 2"),
        ("UPDATE payment_name SET payment_id = 'other' WHERE name = 'pi_9'", "name pi_9 gateway"),
        ("DELETE FROM payment_name WHERE name = 'own'", "name own id"),
        (
            "INSERT INTO payment_name (account, name, kind, payment_id) VALUES ('default', 'pi_8', 'gateway', 'own')",
            "name pi_8 gateway",
        ),
        ("UPDATE merchant_order SET payment_status = 'failed', amount_paid = 0", "order 6735"),
        ("DELETE FROM payment WHERE id = 'own'", "payment own"),
    ] {
        db.tamper(sql).await;
        let found = checked(&db, "default").await;
        let subjects: Vec<&str> = found.differences.iter().map(|difference| difference.subject.as_str()).collect();
        assert_eq!(subjects, [subject], "{sql}");
        assert_eq!(restored(&db, "default").await.differences, found.differences, "{sql}");
        assert!(checked(&db, "default").await.is_sound(), "{sql}");
        assert_eq!(untouched().await, before, "{sql}");
    }
    assert_eq!(db.value(told).await, notices, "nobody is told");
    let row = "SELECT from_status, to_status FROM history WHERE subject = 'booking' AND event_seq = 0 AND at = 1763654499000000";
    assert_eq!(db.rows(row).await, [["cancelled", "confirmed"]], "but it can be seen");
}

async fn each_account_is_derived_by_itself(db: Scratch) {
    let mut theirs = succeeded("evt_1", "pi_1", "6735");
    theirs.account = account("other");
    db.accepted(&[succeeded("evt_1", "pi_1", "6735"), theirs]).await;
    for of in ["default", "other"] {
        let claimed = db.claim(&account(of), store::Place::START, at(9), 9).await.unwrap();
        db.apply(&account(of), claimed.iter().map(crate::scratch::prepare).collect(), at(9)).await.unwrap();
    }
    db.tamper("DELETE FROM payment").await;
    assert_eq!(checked(&db, "other").await.differences.len(), 1);
    assert_eq!(restored(&db, "default").await.differences.len(), 1);
    assert_eq!(checked(&db, "other").await.differences.len(), 1, "not touched");
    assert_eq!(restored(&db, "other").await.differences.len(), 1);
    assert_eq!(db.value("SELECT count(*) FROM payment WHERE status = 'paid'").await, "2");
    assert!(checked(&db, "default").await.is_sound());
}

/// Somebody may have to be told of it, which rebuilding does not do.
async fn what_came_since_is_left_to_be_applied(db: Scratch) {
    let created = crate::scratch::created("evt_1", "pi_1", "6735");
    db.lived_through(&[created]).await;
    let mut rendering = succeeded("evt_1", "pi_1", "6735");
    rendering.api_version = Some("2026-01-01".to_owned());
    db.accepted(&[rendering]).await;
    assert!(restored(&db, "default").await.is_sound());
    assert_eq!(db.value("SELECT status FROM payment").await, "pending");
    db.applied(at(3600)).await;
    assert_eq!(db.value("SELECT count(*) FROM history WHERE notice = 'payment.paid'").await, "1");
    assert!(checked(&db, "default").await.is_sound());
}
