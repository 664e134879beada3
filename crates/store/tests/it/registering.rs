//! What the application registers, and how it meets what gateways said.

use std::collections::BTreeMap;

use domain::money::Minor;
use domain::{Currency, Mode, Money, PaymentStatus, ReferenceKind, Registration, Terms};
use store::{
    DisputeFilter, Error, EventIdentity, EventState, Idempotency, NewEvent, NewId, NewOrder, Noun, PaymentFilter,
    Place, Receipt, RefundFilter, Refusal, Registered, Settled,
};

use crate::scratch::{NOW, Scratch, account, at, delivery, dispute, prepare, refund, session, succeeded};

on_each!(
    an_order_is_registered_once,
    a_payment_is_registered_once,
    a_name_means_one_payment,
    a_key_is_remembered_for_a_day,
    what_is_refused_leaves_nothing_behind,
    what_came_early_joins_what_is_registered,
    what_waits_is_applied_when_another_event_says_whose_it_is,
    what_came_early_is_left_to_whoever_applies_it,
    a_payment_waits_for_an_outside_site,
    a_held_payment_is_released,
    registrations_are_read_in_pages,
    refunds_and_disputes_are_listed,
    an_outcome_says_what_became_of_an_event,
    each_account_has_its_own,
);

fn usd(units: i64) -> Money {
    Money { amount: Minor::new(units).unwrap(), currency: Currency::parse("USD").unwrap() }
}

fn order(id: &str) -> NewOrder {
    NewOrder { id: id.to_owned(), due: usd(1999), customer: None, metadata: None }
}

/// A payment of the order 6735.
fn payment() -> Registration {
    let Money { amount, currency } = usd(1999);
    Registration::new(Terms {
        order_id: Some("6735".to_owned()),
        amount,
        currency,
        gateway: None,
        method: None,
        metadata: BTreeMap::new(),
    })
}

fn known_as(gateway_id: &str) -> Registration {
    let mut registration = payment();
    registration.gateway_ids.insert(gateway_id.to_owned());
    registration
}

/// At an endpoint that takes what concerns registered payments alone.
fn rejecting(mut event: NewEvent) -> NewEvent {
    event.creates = false;
    event
}

fn new(id: &str) -> Result<Registered, Refusal> {
    Ok(Registered::New(id.to_owned()))
}

fn before(id: &str) -> Result<Registered, Refusal> {
    Ok(Registered::Before(id.to_owned()))
}

async fn with_order(db: &Scratch) {
    assert_eq!(db.register_order(&account("default"), order("6735"), None, NOW).await.unwrap(), new("6735"));
}

fn given(id: &str) -> NewId {
    NewId::Given(id.to_owned())
}

async fn registering(db: &Scratch, id: &str, registration: Registration) -> Result<Registered, Refusal> {
    db.register_payment(&account("default"), given(id), registration, None, NOW).await.unwrap()
}

async fn status(db: &Scratch, id: &str) -> PaymentStatus {
    db.show_payment(None, id).await.unwrap().expect("it is there").payment.status
}

async fn an_order_is_registered_once(db: Scratch) {
    let full = NewOrder {
        customer: Some(r#"{"name":"Maud"}"#.to_owned()),
        metadata: Some(r#"{"table":"4"}"#.to_owned()),
        ..order("1")
    };
    let default = account("default");
    assert_eq!(db.register_order(&default, full.clone(), None, NOW).await.unwrap(), new("1"));
    assert_eq!(db.register_order(&default, full.clone(), None, at(9)).await.unwrap(), before("1"));
    let differing = [
        NewOrder { due: usd(2000), ..full.clone() },
        NewOrder { customer: None, ..full.clone() },
        NewOrder { metadata: None, ..full.clone() },
    ];
    for order in differing {
        let refused = db.register_order(&default, order, None, NOW).await.unwrap();
        assert_eq!(refused, Err(Refusal::Differs(Noun::Order)));
    }
    let stored = db.show_order(None, "1").await.unwrap().expect("it is there");
    assert_eq!((stored.amount, stored.currency.as_deref(), stored.created_at), (Some(1999), Some("USD"), NOW));
    assert_eq!(stored.customer.unwrap()["name"], "Maud");
    assert_eq!(stored.metadata, BTreeMap::from([("table".to_owned(), "4".to_owned())]));
}

async fn a_payment_is_registered_once(db: Scratch) {
    assert_eq!(registering(&db, "77", payment()).await, Err(Refusal::Missing(Noun::Order)));
    with_order(&db).await;
    assert_eq!(registering(&db, "77", known_as("pi_1")).await, new("77"));
    assert_eq!(registering(&db, "77", known_as("pi_1")).await, before("77"));
    let made = NewId::Made("pay_1".to_owned());
    let by_name = db.register_payment(&account("default"), made.clone(), known_as("pi_1"), None, NOW).await.unwrap();
    assert_eq!(by_name, before("77"));
    let other = db.register_payment(&account("default"), made, known_as("pi_3"), None, NOW).await.unwrap();
    assert_eq!(other, new("pay_1"));
    assert_eq!(registering(&db, "77", payment()).await, before("77"), "with fewer names");
    assert_eq!(registering(&db, "77", known_as("pi_2")).await, Err(Refusal::Differs(Noun::Payment)));
    let mut more = known_as("pi_1");
    more.terms.amount = Minor::new(2000).unwrap();
    assert_eq!(registering(&db, "77", more).await, Err(Refusal::Differs(Noun::Payment)));
    assert_eq!(db.list_payments(&PaymentFilter::default(), 9).await.unwrap().len(), 2);
    assert_eq!(db.value("SELECT count(*) FROM payments WHERE payment_status = 'pending'").await, "2");
}

async fn a_name_means_one_payment(db: Scratch) {
    with_order(&db).await;
    assert_eq!(registering(&db, "a", known_as("pi_1")).await, new("a"));
    assert_eq!(registering(&db, "b", known_as("pi_1")).await, Err(Refusal::NameTaken(ReferenceKind::Gateway)));
    let mut external = payment();
    external.external_ids.insert("pi_1".to_owned());
    assert_eq!(registering(&db, "c", external.clone()).await, new("c"), "a name of another kind");
    // What took an object is the only one that has it.
    assert_eq!(registering(&db, "d", payment()).await, new("d"));
    let body = String::from_utf8(succeeded("evt_9", "pi_9", "").body.to_vec()).unwrap();
    let body = body.replace(r#""metadata":{}"#, r#""metadata":{"payment_id":"d"}"#);
    db.lived_through(&[rejecting(delivery("evt_9", "payment_intent.succeeded", body))]).await;
    assert_eq!(status(&db, "d").await, PaymentStatus::Paid);
    assert_eq!(registering(&db, "e", known_as("pi_9")).await, Err(Refusal::NameTaken(ReferenceKind::Gateway)));
}

async fn a_key_is_remembered_for_a_day(db: Scratch) {
    let default = account("default");
    let key = |request: &[u8]| Some(Idempotency::of("k".to_owned(), &[request]));
    let once = async |id: &str, request: &[u8], now| db.register_order(&default, order(id), key(request), now).await;
    assert_eq!(once("1", b"a", NOW).await.unwrap(), new("1"));
    let replayed = Registered::Replayed { id: "1".to_owned(), was_new: true };
    assert_eq!(once("2", b"a", at(60)).await.unwrap(), Ok(replayed), "whatever id was made up for it");
    assert_eq!(once("1", b"b", at(60)).await.unwrap(), Err(Refusal::KeyReused));
    let day = 24 * 60 * 60;
    assert_eq!(once("1", b"b", at(day - 1)).await.unwrap(), Err(Refusal::KeyReused));
    assert_eq!(once("1", b"b", at(day)).await.unwrap(), before("1"));
    let replayed = Registered::Replayed { id: "1".to_owned(), was_new: false };
    assert_eq!(once("1", b"b", at(day)).await.unwrap(), Ok(replayed));
    let elsewhere = db.register_order(&account("shop"), order("1"), key(b"c"), NOW).await.unwrap();
    assert_eq!(elsewhere, new("1"), "another account's keys are its own");
    assert_ne!(Idempotency::of(String::new(), &[b"ab", b"c"]), Idempotency::of(String::new(), &[b"a", b"bc"]));

    // Old keys go as new ones come.
    for number in 0..20 {
        let key = Idempotency::of(format!("old {number}"), &[]);
        db.register_order(&default, order(&format!("o{number}")), Some(key), NOW).await.unwrap().unwrap();
    }
    for number in 0..20 {
        let key = Idempotency::of(format!("new {number}"), &[]);
        db.register_order(&default, order(&format!("n{number}")), Some(key), at(2 * day)).await.unwrap().unwrap();
    }
    let left = "SELECT account, count(*) FROM idempotency_key GROUP BY account ORDER BY account";
    assert_eq!(db.rows(left).await, [["default", "20"], ["shop", "1"]], "an account's own go");
    assert_eq!(db.value("SELECT count(*) FROM idempotency_key WHERE key LIKE 'new %'").await, "20");
}

async fn what_is_refused_leaves_nothing_behind(db: Scratch) {
    with_order(&db).await;
    registering(&db, "77", known_as("pi_1")).await.unwrap();
    let dump = db.dump().await;
    let key = |name: &str| Some(Idempotency::of(name.to_owned(), &[]));
    let default = account("default");
    let other = NewOrder { due: usd(1), ..order("6735") };
    db.register_order(&default, other, key("a"), at(9)).await.unwrap().unwrap_err();
    db.register_payment(&default, given("b"), known_as("pi_1"), key("b"), at(9)).await.unwrap().unwrap_err();
    db.release_payment(&default, "77".to_owned(), key("c"), at(9)).await.unwrap().unwrap_err();
    db.expect_external(&default, "none".to_owned(), "E".to_owned(), key("d"), at(9)).await.unwrap().unwrap_err();
    assert_eq!(db.dump().await, dump);
}

async fn what_came_early_joins_what_is_registered(db: Scratch) {
    let early = [succeeded("evt_1", "pi_1", ""), refund("evt_2", "re_1", "ch_1", "pi_1", 500)];
    db.lived_through(&early.map(rejecting)).await;
    let states = "SELECT event_id, state, processed, error_message IS NULL FROM webhook_events ORDER BY id";
    let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
    let kept = [row(["evt_1", "waiting", "0", "0"]), row(["evt_2", "ignored", "1", "1"])];
    assert_eq!(db.rows(states).await, kept);
    assert_eq!(db.list_payments(&PaymentFilter::default(), 9).await.unwrap().len(), 0);

    with_order(&db).await;
    assert_eq!(registering(&db, "77", known_as("pi_1")).await, new("77"));
    assert_eq!(status(&db, "77").await, PaymentStatus::PartiallyRefunded);
    let joined = [row(["evt_1", "applied", "1", "1"]), row(["evt_2", "applied", "1", "1"])];
    assert_eq!(db.rows(states).await, joined);
    let history = db.history_of_payment(&account("default"), "77").await.unwrap();
    let told: Vec<String> = history
        .iter()
        .map(|row| format!("{} {} {}", row.event_id.as_deref().unwrap_or("-"), row.subject, row.to))
        .collect();
    let expected =
        ["- payment pending", "evt_1 payment paid", "evt_2 payment partially_refunded", "evt_2 refund succeeded"];
    assert_eq!(told, expected);
    assert_eq!(db.rows("SELECT type FROM notifications WHERE type LIKE '%.paid' ORDER BY id").await.len(), 2);
    // They come again, and so does the registration.
    let dump = db.dump().await;
    assert_eq!(registering(&db, "77", known_as("pi_1")).await, before("77"));
    assert_eq!(db.dump().await, dump);
}

/// The charge names its intent alone; the intent names what is registered.
async fn what_waits_is_applied_when_another_event_says_whose_it_is(db: Scratch) {
    with_order(&db).await;
    let mut asked = payment();
    asked.transaction_ids.insert("T1".to_owned());
    assert_eq!(registering(&db, "77", asked).await, new("77"));
    let states = "SELECT state, error_message IS NULL FROM webhook_events ORDER BY event_id";
    let told = |intent: &str| {
        let charge = format!(
            r#"{{"id":"evt_a{intent}","object":"event","type":"charge.succeeded","created":1763654400,
                "data":{{"object":{{"id":"ch{intent}","object":"charge","status":"succeeded","amount":1999,
                "amount_captured":1999,"paid":true,"captured":true,"currency":"usd","payment_intent":"{intent}"}}}}}}"#
        );
        let mut paid = succeeded(&format!("evt_b{intent}"), intent, "");
        let body = String::from_utf8(paid.body.to_vec()).unwrap();
        let body = body.replace(r#""metadata":{}"#, r#""metadata":{"transaction_id":"T1"}"#);
        paid = delivery(&format!("evt_b{intent}"), "payment_intent.succeeded", body);
        [delivery(&format!("evt_a{intent}"), "charge.succeeded", charge), paid].map(rejecting)
    };
    let [charge, intent] = told("pi_1");
    db.lived_through(std::slice::from_ref(&charge)).await;
    assert_eq!(db.rows(states).await, [["waiting", "0"]]);
    db.lived_through(std::slice::from_ref(&intent)).await;
    assert_eq!(status(&db, "77").await, PaymentStatus::Paid);
    assert_eq!(db.rows(states).await, [["applied", "1"], ["applied", "1"]]);
}

/// It came once more, and another replica has it just now: on PostgreSQL nothing is
/// registered before that one is done with it or lets it go.
async fn what_came_early_is_left_to_whoever_applies_it(db: Scratch) {
    let early = [rejecting(succeeded("evt_1", "pi_1", ""))];
    db.lived_through(&early).await;
    with_order(&db).await;
    assert_eq!(db.accepted(&early).await, [Receipt::Again]);
    let (other, default) = (db.opened_again().await, account("default"));
    let claimed = other.claim(&default, Place::START, at(3600), 9).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let register = || {
        let id = NewId::Given("77".to_owned());
        db.register_payment(&default, id, known_as("pi_1"), None, NOW)
    };
    if db.is_postgres() {
        let before = db.dump().await;
        let error = register().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert_eq!(db.dump().await, before);
    }
    let batch = claimed.iter().map(prepare).collect();
    let (registered, settled) = tokio::join!(register(), other.apply(&default, batch, at(3600)));
    assert_eq!(registered.unwrap(), new("77"));
    assert!(matches!(settled.unwrap()[..], [Settled::Done(_)]));
    assert_eq!(status(&db, "77").await, PaymentStatus::Paid);
    assert_eq!(db.value("SELECT state FROM webhook_events").await, "applied");
    assert_eq!(db.list_payments(&PaymentFilter::default(), 9).await.unwrap().len(), 1);
}

async fn a_payment_waits_for_an_outside_site(db: Scratch) {
    with_order(&db).await;
    registering(&db, "77", payment()).await.unwrap();
    let default = account("default");
    let expect = async |id: &str, external: &str| {
        db.expect_external(&default, id.to_owned(), external.to_owned(), None, NOW).await.unwrap()
    };
    assert_eq!(expect("none", "E").await, Err(Refusal::Missing(Noun::Payment)));
    assert_eq!(expect("77", "pi_1").await, new("77"));
    assert_eq!(expect("77", "pi_1").await, before("77"));
    assert!(db.show_payment(None, "77").await.unwrap().unwrap().payment.external_pending);
    registering(&db, "78", payment()).await.unwrap();
    assert_eq!(expect("78", "pi_1").await, Err(Refusal::NameTaken(ReferenceKind::External)));
    db.lived_through(&[rejecting(succeeded("evt_1", "pi_1", ""))]).await;
    let payment = db.show_payment(None, "77").await.unwrap().unwrap().payment;
    assert_eq!((payment.status, payment.external_pending), (PaymentStatus::Paid, false));
}

async fn a_held_payment_is_released(db: Scratch) {
    let default = account("default");
    let mut larger = payment();
    larger.terms.amount = Minor::new(5000).unwrap();
    with_order(&db).await;
    registering(&db, "77", larger).await.unwrap();
    let release = async |id: &str| db.release_payment(&default, id.to_owned(), None, NOW).await.unwrap();
    assert_eq!(release("none").await, Err(Refusal::Missing(Noun::Payment)));
    assert_eq!(release("77").await, Err(Refusal::NotHeld));
    db.lived_through(&[rejecting(succeeded("evt_1", "pi_1", "6735"))]).await;
    assert_eq!(status(&db, "77").await, PaymentStatus::Pending);
    assert_eq!(db.value("SELECT hold_reason FROM payments").await, "amount_mismatch");
    assert_eq!(release("77").await, new("77"));
    assert_eq!(release("77").await, before("77"));
    assert_eq!(status(&db, "77").await, PaymentStatus::Paid);
    assert_eq!(db.value("SELECT count(*) FROM notifications WHERE type = 'payment.paid'").await, "1");
}

async fn registrations_are_read_in_pages(db: Scratch) {
    with_order(&db).await;
    for number in 0..5 {
        registering(&db, &format!("p{number}"), known_as(&format!("pi_{number}"))).await.unwrap();
    }
    let default = account("default");
    let page = |after: &'static str| db.registrations(&default, after, 2);
    let ids = |rows: Vec<(String, Registration)>| rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(page("").await.unwrap()), ["p0", "p1"]);
    assert_eq!(ids(page("p1").await.unwrap()), ["p2", "p3"]);
    assert_eq!(page("p3").await.unwrap(), [("p4".to_owned(), known_as("pi_4"))]);
    assert_eq!(page("p4").await.unwrap(), []);
    assert_eq!(db.accounts().await.unwrap(), [account("default")], "without any event");
}

async fn refunds_and_disputes_are_listed(db: Scratch) {
    db.lived_through(&[
        succeeded("evt_1", "pi_1", "6735"),
        refund("evt_2", "re_1", "ch_1", "pi_1", 500),
        refund("evt_3", "re_2", "ch_1", "pi_1", 99),
        dispute("evt_4", "dp_1", "ch_1", "pi_1"),
    ])
    .await;
    let payment = db.list_payments(&PaymentFilter::default(), 1).await.unwrap().remove(0).payment;
    let all = db.list_refunds(&RefundFilter::default(), 9).await.unwrap();
    let found: Vec<(&str, i64, &str)> =
        all.iter().map(|row| (row.gateway_refund_id.as_str(), row.amount, row.payment_id.as_str())).collect();
    assert_eq!(found, [("re_2", 99, payment.id.as_str()), ("re_1", 500, payment.id.as_str())], "newest first");
    let filters = [
        (RefundFilter { before: Some(all[0].row), ..RefundFilter::default() }, 1),
        (RefundFilter { account: Some(account("shop")), ..RefundFilter::default() }, 0),
        (RefundFilter { payment: Some(payment.id.clone()), ..RefundFilter::default() }, 2),
        (RefundFilter { payment: Some("none".to_owned()), ..RefundFilter::default() }, 0),
        (RefundFilter { status: Some("succeeded".to_owned()), ..RefundFilter::default() }, 2),
        (RefundFilter { status: Some("failed".to_owned()), ..RefundFilter::default() }, 0),
    ];
    for (filter, count) in filters {
        assert_eq!(db.list_refunds(&filter, 9).await.unwrap().len(), count, "{filter:?}");
    }
    assert_eq!(db.list_refunds(&RefundFilter::default(), 1).await.unwrap().len(), 1);
    let disputes = db.list_disputes(&DisputeFilter::default(), 9).await.unwrap();
    let [dispute] = disputes.as_slice() else { panic!("one: {disputes:?}") };
    assert_eq!((dispute.gateway_dispute_id.as_str(), dispute.status.as_str()), ("dp_1", "open"));
    assert_eq!((dispute.amount, dispute.net, &dispute.payment_id), (Some(1999), -3499, &payment.id));
    let filters = [
        (DisputeFilter { before: Some(dispute.row), ..DisputeFilter::default() }, 0),
        (DisputeFilter { account: Some(account("default")), ..DisputeFilter::default() }, 1),
        (DisputeFilter { payment: Some(payment.id.clone()), ..DisputeFilter::default() }, 1),
        (DisputeFilter { status: Some("lost".to_owned()), ..DisputeFilter::default() }, 0),
    ];
    for (filter, count) in filters {
        assert_eq!(db.list_disputes(&filter, 9).await.unwrap().len(), count, "{filter:?}");
    }
}

async fn an_outcome_says_what_became_of_an_event(db: Scratch) {
    let identity = |event_id: &str| EventIdentity {
        gateway: "stripe",
        mode: Mode::Test,
        connected_account: String::new(),
        event_id: event_id.to_owned(),
    };
    let default = account("default");
    assert!(db.outcome(&default, identity("evt_1")).await.unwrap().is_none());
    let event = rejecting(session("evt_1", "cs_1", "pi_1", ""));
    db.accepted(std::slice::from_ref(&event)).await;
    let outcome = db.outcome(&default, identity("evt_1")).await.unwrap().expect("it is stored");
    assert_eq!((outcome.state, outcome.said), (EventState::Pending, None));
    db.applied(NOW).await;
    let outcome = db.outcome(&default, identity("evt_1")).await.unwrap().expect("it is stored");
    assert_eq!((outcome.state, outcome.said), (EventState::Waiting, Some(PaymentStatus::Paid)));
    assert!(outcome.payment.is_none() && outcome.error.is_some(), "{outcome:?}");
    with_order(&db).await;
    registering(&db, "77", known_as("cs_1")).await.unwrap();
    let outcome = db.outcome(&default, identity("evt_1")).await.unwrap().expect("it is stored");
    assert_eq!(
        (outcome.state, outcome.payment.map(|row| row.payment.id)),
        (EventState::Applied, Some("77".to_owned()))
    );
    assert!(db.outcome(&account("shop"), identity("evt_1")).await.unwrap().is_none());
}

async fn each_account_has_its_own(db: Scratch) {
    let shop = account("shop");
    with_order(&db).await;
    registering(&db, "77", known_as("pi_1")).await.unwrap();
    let refused = db.register_payment(&shop, given("77"), known_as("pi_1"), None, NOW).await.unwrap();
    assert_eq!(refused, Err(Refusal::Missing(Noun::Order)), "the order is another account's");
    db.register_order(&shop, order("6735"), None, NOW).await.unwrap().unwrap();
    assert_eq!(db.register_payment(&shop, given("77"), known_as("pi_1"), None, NOW).await.unwrap(), new("77"));
    db.lived_through(&[rejecting(succeeded("evt_1", "pi_1", ""))]).await;
    for (name, expected) in [("default", PaymentStatus::Paid), ("shop", PaymentStatus::Pending)] {
        let row = db.show_payment(Some(&account(name)), "77").await.unwrap().expect(name);
        assert_eq!(row.payment.status, expected, "{name}");
    }
    assert!(matches!(db.show_payment(None, "77").await, Err(store::Error::Conflict(_))));
    assert_eq!(db.accounts().await.unwrap(), [account("default"), shop]);
}
