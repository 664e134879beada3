//! Bookings, and the resources that they are for.

use std::collections::BTreeSet;

use domain::booking::{BookingTerms, Claim, OnConflict};
use domain::money::Minor;
use domain::{Currency, Days};
use store::{BookingFilter, Idempotency, NewEvent, Noun, Refusal, Registered};

use crate::scratch::{NOW, Scratch, account, at, session};

on_each!(
    a_resource_is_registered_once,
    a_booking_is_registered_once,
    a_session_means_one_booking,
    the_first_that_is_paid_has_the_days,
    what_came_early_claims_when_it_is_registered,
    a_session_that_is_named_later_joins,
    giving_up_frees_the_days,
    bookings_are_listed_by_what_is_asked,
    bookings_are_read_in_pages,
    the_database_itself_keeps_days_apart,
);

fn days(start: &str, end: &str) -> Days {
    Days::parse(start, end).unwrap()
}

fn terms(start: &str, end: &str) -> BookingTerms {
    BookingTerms {
        resource_id: "house".to_owned(),
        days: days(start, end),
        amount: Minor::new(1999),
        currency: Currency::parse("USD"),
        on_conflict: OnConflict::Cancel,
        session_ids: BTreeSet::new(),
        hinted_session_ids: BTreeSet::new(),
        released: false,
    }
}

fn with_session(session: &str) -> BookingTerms {
    BookingTerms { session_ids: BTreeSet::from([session.to_owned()]), ..terms("2026-12-01", "2026-12-05") }
}

/// A session that was paid, at an endpoint that makes no payments.
fn paid(number: u32) -> NewEvent {
    let mut event = session(&format!("evt_{number}"), &format!("cs_{number}"), &format!("pi_{number}"), "");
    event.creates = false;
    event
}

async fn house(db: &Scratch) {
    let name = "House by the lake".to_owned();
    let made = db.register_resource(&account("default"), "house".to_owned(), name, None, NOW).await.unwrap();
    assert_eq!(made, Ok(Registered::New("house".to_owned())));
}

async fn booking(db: &Scratch, id: &str, terms: BookingTerms) -> Result<Registered, Refusal> {
    db.register_booking(&account("default"), id.to_owned(), terms, None, NOW).await.unwrap()
}

async fn status(db: &Scratch, id: &str) -> (String, Option<String>, Option<String>) {
    let row = db.show_booking(None, id).await.unwrap().expect("it is there");
    (row.status, row.reason, row.lost_to)
}

fn confirmed() -> (String, Option<String>, Option<String>) {
    ("confirmed".to_owned(), None, None)
}

fn lost_to(winner: &str) -> (String, Option<String>, Option<String>) {
    ("cancelled".to_owned(), Some("dates_unavailable".to_owned()), Some(winner.to_owned()))
}

async fn a_resource_is_registered_once(db: Scratch) {
    house(&db).await;
    let register = async |of: &str, name: &str, key: Option<Idempotency>| {
        db.register_resource(&account(of), "house".to_owned(), name.to_owned(), key, at(9)).await.unwrap()
    };
    assert_eq!(register("default", "House by the lake", None).await, Ok(Registered::Before("house".to_owned())));
    assert_eq!(register("default", "Castle", None).await, Err(Refusal::Differs(Noun::Resource)));
    let key = || Some(Idempotency::of("k".to_owned(), &[]));
    assert_eq!(register("shop", "Castle", key()).await, Ok(Registered::New("house".to_owned())));
    let replayed = Registered::Replayed { id: "house".to_owned(), was_new: true };
    assert_eq!(register("shop", "Castle", key()).await, Ok(replayed));
    let shown = db.show_resource(&account("shop"), "house").await.unwrap().expect("it is there");
    assert_eq!((shown.name.as_str(), shown.created_at), ("Castle", at(9)));
    assert!(db.show_resource(&account("shop"), "boat").await.unwrap().is_none());
    let all = db.list_resources(None, None, 9).await.unwrap();
    assert_eq!(all.iter().map(|row| row.account.as_str()).collect::<Vec<_>>(), ["shop", "default"], "newest first");
    let older = db.list_resources(None, Some(all[0].row), 9).await.unwrap();
    assert_eq!((older.len(), older[0].name.as_str()), (1, "House by the lake"));
    assert_eq!(db.list_resources(Some(&account("shop")), None, 9).await.unwrap().len(), 1);
}

async fn a_booking_is_registered_once(db: Scratch) {
    let wanted = terms("2026-12-01", "2026-12-05");
    assert_eq!(booking(&db, "1", wanted.clone()).await, Err(Refusal::Missing(Noun::Resource)));
    house(&db).await;
    assert_eq!(booking(&db, "1", wanted.clone()).await, Ok(Registered::New("1".to_owned())));
    assert_eq!(booking(&db, "1", wanted.clone()).await, Ok(Registered::Before("1".to_owned())));
    for other in [
        terms("2026-12-01", "2026-12-06"),
        BookingTerms { amount: Minor::new(1), ..wanted.clone() },
        BookingTerms { on_conflict: OnConflict::Refund, ..wanted.clone() },
        with_session("cs_1"),
    ] {
        assert_eq!(booking(&db, "1", other).await, Err(Refusal::Differs(Noun::Booking)));
    }
    assert_eq!(status(&db, "1").await, ("pending".to_owned(), None, None));
    let history = db.history_of_booking(&account("default"), "1").await.unwrap();
    let path: Vec<_> = history.iter().map(|row| (row.from.as_deref(), row.to.as_str(), row.at)).collect();
    assert_eq!(path, [(None, "pending", NOW)]);
}

async fn a_session_means_one_booking(db: Scratch) {
    house(&db).await;
    booking(&db, "1", with_session("cs_1")).await.unwrap();
    assert_eq!(booking(&db, "2", with_session("cs_1")).await, Err(Refusal::SessionTaken));
    booking(&db, "2", terms("2026-12-01", "2026-12-05")).await.unwrap();
    let add = async |id: &str, session: &str| {
        db.add_booking_session(&account("default"), id.to_owned(), session.to_owned(), None, NOW).await.unwrap()
    };
    assert_eq!(add("2", "cs_1").await, Err(Refusal::SessionTaken));
    assert_eq!(add("none", "cs_2").await, Err(Refusal::Missing(Noun::Booking)));
    assert_eq!(add("2", "cs_2").await, Ok(Registered::New("2".to_owned())));
    assert_eq!(add("2", "cs_2").await, Ok(Registered::Before("2".to_owned())));
    let shown = db.show_booking(None, "2").await.unwrap().unwrap();
    assert_eq!(shown.session_ids, ["cs_2"]);
}

async fn the_first_that_is_paid_has_the_days(db: Scratch) {
    house(&db).await;
    let wanted =
        [("1", "2026-12-01", "2026-12-05"), ("2", "2026-12-04", "2026-12-08"), ("3", "2026-12-08", "2026-12-09")];
    for (id, start, end) in wanted {
        let session_ids = BTreeSet::from([format!("cs_{id}")]);
        booking(&db, id, BookingTerms { session_ids, ..terms(start, end) }).await.unwrap();
    }
    // All in one batch: the order in which they came decides.
    db.accepted(&[paid(2), paid(1), paid(3)]).await;
    db.applied(NOW).await;
    assert_eq!((status(&db, "2").await, status(&db, "3").await), (confirmed(), confirmed()));
    assert_eq!(status(&db, "1").await, lost_to("2"));
    let default = account("default");
    let held = db.taken_days(&default, "house", &days("2026-12-01", "2026-12-31")).await.unwrap();
    assert_eq!(held, [days("2026-12-04", "2026-12-08"), days("2026-12-08", "2026-12-09")]);
    for (start, end, count) in
        [("2026-12-01", "2026-12-04", 0), ("2026-12-07", "2026-12-08", 1), ("2026-12-09", "2026-12-10", 0)]
    {
        let held = db.taken_days(&default, "house", &days(start, end)).await.unwrap();
        assert_eq!(held.len(), count, "{start} to {end}");
    }
    assert_eq!(db.taken_days(&account("shop"), "house", &days("2026-12-01", "2026-12-31")).await.unwrap(), []);
    let stored = db.rows("SELECT id, status, payment_status FROM bookings ORDER BY id").await;
    let expected = [["1", "cancelled", "paid"], ["2", "confirmed", "paid"], ["3", "confirmed", "paid"]];
    assert_eq!(stored, expected.map(|row| row.map(str::to_owned).to_vec()));
}

async fn what_came_early_claims_when_it_is_registered(db: Scratch) {
    house(&db).await;
    db.lived_through(&[paid(1), paid(2)]).await;
    assert_eq!(db.value("SELECT count(*) FROM webhook_events WHERE state = 'waiting'").await, "2");
    booking(&db, "b", with_session("cs_2")).await.unwrap();
    booking(&db, "a", with_session("cs_1")).await.unwrap();
    assert_eq!((status(&db, "b").await, status(&db, "a").await), (confirmed(), lost_to("b")));
    assert_eq!(db.value("SELECT count(*) FROM webhook_events WHERE state = 'applied'").await, "2");
    assert_eq!(db.value("SELECT count(*) FROM notifications WHERE type = 'booking.confirmed'").await, "1");
}

async fn a_session_that_is_named_later_joins(db: Scratch) {
    house(&db).await;
    booking(&db, "1", terms("2026-12-01", "2026-12-05")).await.unwrap();
    db.lived_through(&[paid(1)]).await;
    assert_eq!(status(&db, "1").await.0, "pending");
    let key = Some(Idempotency::of("k".to_owned(), &[]));
    let default = account("default");
    let added = db.add_booking_session(&default, "1".to_owned(), "cs_1".to_owned(), key, NOW).await.unwrap();
    assert_eq!(added, Ok(Registered::New("1".to_owned())));
    assert_eq!(status(&db, "1").await, confirmed());
    let shown = db.show_booking(None, "1").await.unwrap().unwrap();
    assert_eq!((shown.payment_ids.len(), shown.payment_status.as_str()), (1, "paid"));
}

async fn giving_up_frees_the_days(db: Scratch) {
    house(&db).await;
    let cancel = async |id: &str| db.cancel_booking(&account("default"), id.to_owned(), None, NOW).await.unwrap();
    assert_eq!(cancel("1").await, Err(Refusal::Missing(Noun::Booking)));
    booking(&db, "1", with_session("cs_1")).await.unwrap();
    db.lived_through(&[paid(1)]).await;
    assert_eq!(cancel("1").await, Ok(Registered::New("1".to_owned())));
    assert_eq!(cancel("1").await, Ok(Registered::Before("1".to_owned())));
    assert_eq!(status(&db, "1").await, ("cancelled".to_owned(), Some("requested".to_owned()), None));
    assert_eq!(db.taken_days(&account("default"), "house", &days("2026-12-01", "2026-12-05")).await.unwrap(), []);
    booking(&db, "2", with_session("cs_2")).await.unwrap();
    db.lived_through(&[paid(2), paid(1)]).await;
    assert_eq!(status(&db, "2").await, confirmed());
}

async fn bookings_are_listed_by_what_is_asked(db: Scratch) {
    house(&db).await;
    for id in ["1", "2", "3"] {
        booking(&db, id, with_session(&format!("cs_{id}"))).await.unwrap();
    }
    db.lived_through(&[paid(2)]).await;
    let shop = account("shop");
    db.register_resource(&shop, "house".to_owned(), "Castle".to_owned(), None, NOW).await.unwrap().unwrap();
    db.register_booking(&shop, "1".to_owned(), with_session("cs_1"), None, NOW).await.unwrap().unwrap();
    let all = BookingFilter::default;
    let rows = db.list_bookings(&all(), 9).await.unwrap();
    assert_eq!(rows.len(), 4);
    let cases: Vec<(BookingFilter, &[&str])> = vec![
        (BookingFilter { account: Some(account("default")), ..all() }, &["3", "2", "1"]),
        (BookingFilter { account: Some(shop), ..all() }, &["1"]),
        (BookingFilter { status: Some("confirmed".to_owned()), ..all() }, &["2"]),
        (BookingFilter { resource_id: Some("boat".to_owned()), ..all() }, &[]),
        (BookingFilter { before: Some(rows[1].row), ..all() }, &["2", "1"]),
    ];
    for (filter, expected) in cases {
        let rows = db.list_bookings(&filter, 9).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    assert!(matches!(db.show_booking(None, "1").await, Err(store::Error::Conflict(_))));
    assert!(db.show_booking(None, "none").await.unwrap().is_none());
    let one = db.show_booking(Some(&account("default")), "1").await.unwrap().expect("it is there");
    assert_eq!(
        (one.start.as_str(), one.end.as_str(), one.on_conflict.as_str()),
        ("2026-12-01", "2026-12-05", "cancel")
    );
}

async fn bookings_are_read_in_pages(db: Scratch) {
    house(&db).await;
    for id in ["1", "2", "3"] {
        booking(&db, id, with_session(&format!("cs_{id}"))).await.unwrap();
    }
    db.lived_through(&[paid(1), paid(2)]).await;
    let default = account("default");
    let first = db.stored_bookings(&default, "", 2).await.unwrap();
    let claims: Vec<_> = first.iter().map(|row| (row.id.as_str(), row.inputs.claim.clone())).collect();
    assert_eq!(claims, [("1", Some(Claim::Won)), ("2", Some(Claim::Lost("1".to_owned())))]);
    assert_eq!((first[0].status.as_str(), first[0].payment_status.as_str()), ("confirmed", "paid"));
    assert_eq!(first[0].inputs.terms, with_session("cs_1"));
    let rest = db.stored_bookings(&default, "2", 2).await.unwrap();
    assert_eq!((rest.len(), &rest[0].inputs.claim), (1, &None));
}

/// Whoever writes past Quittance is stopped.
async fn the_database_itself_keeps_days_apart(db: Scratch) {
    house(&db).await;
    for id in ["1", "2"] {
        booking(&db, id, with_session(&format!("cs_{id}"))).await.unwrap();
    }
    db.lived_through(&[paid(1), paid(2)]).await;
    for sql in [
        "UPDATE booking SET status = 'confirmed' WHERE id = '2'",
        "INSERT INTO booking (account, id, resource_id, starts_on, ends_on, amount, currency, on_conflict, released,
            canceled, claim, lost_to, status, payment_status, reason, created_at, updated_at)
         SELECT account, '9', resource_id, starts_on, ends_on, amount, currency, on_conflict,
            released, canceled, claim, lost_to, 'confirmed', payment_status, reason, created_at, updated_at
         FROM booking WHERE id = '2'",
    ] {
        let refused = db.try_tamper(sql).await.unwrap_err();
        let said = if db.is_postgres() { "booking_disjoint" } else { "these days of the resource are taken" };
        assert!(refused.contains(said), "{refused}");
    }
    assert_eq!(
        db.tamper(
            "UPDATE booking SET starts_on = '2026-12-05', ends_on = '2026-12-06', status = 'confirmed' WHERE id = '2'"
        )
        .await,
        1
    );
}
