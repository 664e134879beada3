//! Proofs over simulated lives and what an application registers, and what breaks them.

use std::collections::BTreeSet;

use domain::booking::{BookingTerms, OnConflict};
use domain::{AccountId, Days, Money, Registration, Terms};
use engine::prove::{Call, Inputs, Options, Proof, What, prove};
use gateways::stripe::sample::{Life, LifeKind, Overrides, SampleEvent, Sampler};
use store::{NewEvent, NewOrder};

use crate::it::scratch::{NOW, delivery, lives};

const OPTIONS: Options = Options { runs: 6, seed: 1 };

fn deliveries<'a>(events: impl IntoIterator<Item = &'a SampleEvent>) -> Vec<NewEvent> {
    events.into_iter().map(|event| delivery(&event.body)).collect()
}

async fn proved(inputs: &Inputs, options: Options) -> Proof {
    prove(inputs, options, |_, _| {}).await.expect("it runs")
}

#[track_caller]
fn holds(proof: &Proof) {
    assert!(proof.holds(), "{proof:#?}");
    let hashes: BTreeSet<&str> = proof.runs.iter().map(|run| run.hash.as_str()).collect();
    assert_eq!(hashes.len(), 1, "{proof:#?}");
}

fn call(what: What) -> Call {
    Call { account: AccountId::default(), what }
}

fn of_life(life: &Life, id: &str, order_id: &str) -> Registration {
    Registration::new(Terms {
        order_id: Some(order_id.to_owned()),
        amount: life.amount,
        currency: life.currency,
        gateway: None,
        method: None,
        metadata: [("id".to_owned(), id.to_owned())].into(),
    })
}

fn order_of(life: &Life, id: &str) -> Call {
    let due = Money { amount: life.amount, currency: life.currency };
    call(What::Order(NewOrder { id: id.to_owned(), due, customer: None, metadata: None }))
}

/// At an endpoint that makes no payments.
fn not_creating(mut event: NewEvent) -> NewEvent {
    (event.creates, event.endpoint) = (false, "/webhooks/stripe".to_owned());
    event
}

#[tokio::test]
async fn lives_end_the_same() {
    let inputs = Inputs { deliveries: deliveries(&lives(3, 40)), ..Inputs::default() };
    let proof = proved(&inputs, Options { runs: 8, seed: 7 }).await;
    holds(&proof);
    assert_eq!((proof.runs.len(), proof.events), (9, inputs.deliveries.len()));
    let [reference, runs @ ..] = proof.runs.as_slice() else { panic!("{proof:?}") };
    assert_eq!((reference.seed, reference.deliveries, reference.crashes), (None, proof.events, 0));
    assert!(runs.iter().all(|run| run.crashes > 0 && run.deliveries > proof.events), "{runs:#?}");
    assert!(runs.iter().map(|run| run.accepted_batches).collect::<BTreeSet<_>>().len() > 4, "{runs:#?}");
    let again = proved(&inputs, Options { runs: 2, seed: 9 }).await;
    assert_eq!(again.runs[1..], runs[2..4], "the seed repeats it");
}

/// Payments that are registered by their intent, by a transaction in metadata, and by the
/// order alone, at endpoints that make payments and at ones that do not.
#[tokio::test]
async fn lives_and_registrations_end_the_same() {
    let mut sampler = Sampler::new(5);
    let mut inputs = Inputs::default();
    for number in 0..45 {
        let (id, order_id, transaction) = (format!("own_{number}"), format!("ord_{number}"), format!("TXN-{number}"));
        let transaction_id = (number % 3 == 1).then(|| transaction.clone());
        let overrides = Overrides { order_id: Some(order_id.clone()), transaction_id, ..Overrides::default() };
        let kind = LifeKind::ALL[number % LifeKind::ALL.len()];
        let life = sampler.life(kind, NOW, &overrides);
        let mut registration = of_life(&life, &id, &order_id);
        match number % 3 {
            0 => registration.gateway_ids = [life.payment_intent.clone()].into(),
            1 => registration.transaction_ids = [transaction].into(),
            _ => {}
        }
        inputs.calls.extend([order_of(&life, &order_id), call(What::Payment(id.clone(), registration))]);
        if number % 7 == 0 {
            inputs.calls.push(call(What::External(id, format!("site-{number}"))));
        }
        let of_life = deliveries(&life.events).into_iter();
        inputs.deliveries.extend(of_life.map(|event| if number % 2 == 0 { event } else { not_creating(event) }));
    }
    let proof = proved(&inputs, Options { runs: 6, seed: 21 }).await;
    holds(&proof);
    assert_eq!(proof.contested_orders, BTreeSet::new());
}

/// Two payments of the gateway name an order whose only registered payment names neither:
/// which of them it is depends on what came first, and nothing else does.
#[tokio::test]
async fn what_an_order_takes_first_is_contested_and_nothing_else() {
    let mut sampler = Sampler::new(8);
    let mut inputs = Inputs { deliveries: deliveries(&lives(9, 5)), ..Inputs::default() };
    let overrides = Overrides { order_id: Some("6735".to_owned()), ..Overrides::default() };
    let first = sampler.life(LifeKind::Success, NOW, &overrides);
    let second = sampler.life(LifeKind::FullRefund, NOW, &overrides);
    inputs.calls =
        vec![order_of(&first, "6735"), call(What::Payment("own".to_owned(), of_life(&first, "own", "6735")))];
    inputs.deliveries.extend(deliveries(first.events.iter().chain(&second.events)));
    let proof = proved(&inputs, OPTIONS).await;
    holds(&proof);
    assert_eq!(proof.contested_orders, BTreeSet::from(["default order 6735".to_owned()]));
}

#[tokio::test]
async fn bookings_of_the_same_days_are_held_to_their_promise() {
    let mut sampler = Sampler::new(12);
    let mut inputs = Inputs::default();
    inputs.calls.push(call(What::Resource("cabin".to_owned(), "The cabin".to_owned())));
    let days = [("01", "05"), ("03", "08"), ("04", "06"), ("05", "09"), ("01", "09"), ("08", "10"), ("20", "24")];
    for (number, (start, end)) in days.into_iter().enumerate() {
        let id = format!("bkg_{number}");
        let overrides = Overrides { booking_id: Some(id.clone()), no_made_up_order: true, ..Overrides::default() };
        let kind = if number == 3 { LifeKind::FullRefund } else { LifeKind::Success };
        let life = sampler.life(kind, NOW, &overrides);
        let terms = BookingTerms {
            resource_id: "cabin".to_owned(),
            days: Days::parse(&format!("2026-12-{start}"), &format!("2026-12-{end}")).expect("days"),
            amount: Some(life.amount),
            currency: Some(life.currency),
            on_conflict: OnConflict::Cancel,
            session_ids: BTreeSet::new(),
            hinted_session_ids: BTreeSet::new(),
            released: false,
        };
        inputs.calls.push(call(What::Booking(id.clone(), terms)));
        if number == 2 {
            inputs.calls.push(call(What::Cancel(id)));
        }
        inputs.deliveries.extend(deliveries(&life.events).into_iter().map(not_creating));
    }
    let proof = proved(&inputs, Options { runs: 10, seed: 3 }).await;
    holds(&proof);
    assert_eq!(proof.contested_bookings, 6, "all but the last want days that another one wants");
}

/// Whatever the first body of an event says is what it said: with another one under the
/// same id nothing can be promised, and the proof says where.
#[tokio::test]
async fn two_bodies_under_one_id_are_found_and_made_small() {
    let events = lives(14, 12);
    let mut inputs = Inputs { deliveries: deliveries(&events), ..Inputs::default() };
    let told = events.iter().find(|event| event.event_type == "payment_intent.succeeded").expect("one is paid");
    let retold = told.body.replace("\"succeeded\"", "\"processing\"");
    assert_ne!(retold, told.body);
    inputs.deliveries.push(delivery(&retold));
    let proof = proved(&inputs, OPTIONS).await;
    assert!(!proof.holds());
    let nouns: BTreeSet<&str> = proof.differences.iter().map(|difference| difference.subject.noun).collect();
    assert!(nouns.contains("payment"), "{:?}", proof.differences);
    let smallest = proof.smallest.expect("it can be shown");
    assert_eq!((smallest.one_order.len(), smallest.another.len()), (2, 2), "{smallest:?}");
    assert!(smallest.one_order.iter().all(|step| step.contains(&told.id)), "{smallest:?}");
    let seed = proof.differences[0].seed.expect("of a run");
    let again = proved(&inputs, Options { runs: 1, seed }).await;
    let of_seed = proof.differences.iter().filter(|difference| difference.seed == Some(seed));
    assert!(of_seed.eq(&again.differences), "the seed repeats it alone");
}

#[tokio::test]
async fn renderings_and_what_cannot_be_applied_end_the_same() {
    let events = lives(15, 6);
    let mut inputs = Inputs { deliveries: deliveries(&events), ..Inputs::default() };
    let mut older = delivery(&events[0].body);
    older.api_version = Some("2019-05-16".to_owned());
    inputs.deliveries.push(older);
    let mut broken = NewEvent::new(
        AccountId::default(),
        "stripe",
        domain::Mode::Test,
        String::new(),
        "evt_broken".to_owned(),
        "payment_intent.succeeded".to_owned(),
        None,
        None,
        "/payments/webhook".to_owned(),
        true,
        None,
        NOW,
        "{",
    );
    inputs.deliveries.push(broken.clone());
    (broken.event_id, broken.ignored_because) = ("evt_aside".to_owned(), Some("its mode is not the endpoint's"));
    inputs.deliveries.push(broken);
    let proof = proved(&inputs, OPTIONS).await;
    holds(&proof);
    assert_eq!((proof.events, proof.bodies), (events.len() + 2, events.len() + 3));
}

/// The order's first payment takes the object that the second is registered under, where
/// that comes late. The API refuses it then, so no run has it late.
#[tokio::test]
async fn what_the_api_refuses_late_comes_first() {
    let mut sampler = Sampler::new(18);
    let overrides = Overrides { order_id: Some("6735".to_owned()), ..Overrides::default() };
    let life = sampler.life(LifeKind::Success, NOW, &overrides);
    let mut named = of_life(&life, "named", "6735");
    named.gateway_ids = [life.payment_intent.clone()].into();
    let unnamed = of_life(&life, "unnamed", "6735");
    let payments = [("unnamed", unnamed), ("named", named)].map(|(id, of)| call(What::Payment(id.to_owned(), of)));
    let calls = std::iter::once(order_of(&life, "6735")).chain(payments).collect();
    let inputs = Inputs { calls, deliveries: deliveries(&life.events), ..Inputs::default() };
    holds(&proved(&inputs, Options { runs: 20, seed: 1 }).await);
}
