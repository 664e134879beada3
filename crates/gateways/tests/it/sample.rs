//! The sampler's events are like Stripe's, and its lives end as it says.

use std::collections::BTreeSet;

use domain::money::Minor;
use domain::{Currency, EventFacts, Flag, Payment, Timestamp};
use gateways::stripe::sample::{Life, LifeKind, Overrides, Sampler, TYPES};
use gateways::stripe::{envelope, normalise};
use serde_json::Value;

use crate::support::{event_facts, ledger, payments};

const START: Timestamp = Timestamp::from_seconds(1_790_000_000);

fn check(life: &Life, payment: &Payment) {
    let kind = life.kind;
    assert_eq!(payment.status, life.expected, "{kind:?}: {payment:?}");
    assert_eq!(payment.dispute_status, life.expected_dispute, "{kind:?}");
    assert_eq!(payment.amount, Some(life.amount), "{kind:?}");
    assert_eq!(payment.currency, Some(life.currency), "{kind:?}");
    assert_eq!(payment.amount_captured, life.amount_captured, "{kind:?}");
    assert_eq!(payment.amount_refunded, life.amount_refunded, "{kind:?}");
    assert_eq!(payment.order_id.as_deref(), Some(&*life.order_id), "{kind:?}");
    assert_eq!(payment.gateway_transaction_id.as_deref(), Some(&*life.payment_intent), "{kind:?}");
    assert_eq!(payment.flags, BTreeSet::<Flag>::new(), "{kind:?}");
}

#[test]
fn every_life_ends_as_it_says_in_any_order() {
    for seed in 0..8 {
        let mut sampler = Sampler::new(seed);
        for kind in LifeKind::ALL {
            let life = sampler.life(kind, START, &Overrides::default());
            let events: Vec<EventFacts> = life.events.iter().map(|event| event_facts(event.body.as_bytes())).collect();
            let in_order = ledger(&events);
            let [payment] = payments(&in_order)[..] else { panic!("{kind:?}: one payment") };
            check(&life, payment);
            for shuffle in 0..20 {
                let mut shuffled: Vec<&EventFacts> = events.iter().chain(&events).collect();
                fastrand::Rng::with_seed(shuffle).shuffle(&mut shuffled);
                let shuffled = ledger(shuffled);
                assert_eq!(payments(&shuffled), [payment], "{kind:?}, seed {seed}, shuffle {shuffle}");
            }
        }
    }
}

#[test]
fn a_mix_has_all_kinds_and_mostly_successes() {
    let mut sampler = Sampler::new(7);
    let lives: Vec<Life> = (0..1_000).map(|_| sampler.any_life(START)).collect();
    for kind in LifeKind::ALL {
        let share = lives.iter().filter(|life| life.kind == kind).count();
        assert!((1..600).contains(&share), "{kind:?}: {share}");
    }
    let of = |pick: &dyn Fn(&Life) -> String| lives.iter().map(pick).collect::<BTreeSet<_>>().len();
    assert_eq!(of(&|life| life.payment_intent.clone()), lives.len());
    assert_eq!(of(&|life| life.order_id.clone()), lives.len());
    let events: Vec<&str> = lives.iter().flat_map(|life| &life.events).map(|event| event.id.as_str()).collect();
    assert_eq!(events.iter().collect::<BTreeSet<_>>().len(), events.len());
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let lives = |seed| {
        let mut sampler = Sampler::new(seed);
        (0..20).map(|_| sampler.any_life(START)).collect::<Vec<_>>()
    };
    assert_eq!(lives(3), lives(3));
    assert_ne!(lives(3), lives(4));
}

#[test]
fn later_ids_sort_after_earlier_ones() {
    let mut sampler = Sampler::new(1);
    let early = sampler.life(LifeKind::Success, START, &Overrides::default());
    let later = START.plus_micros(1_000_000);
    let late = sampler.life(LifeKind::Success, later, &Overrides::default());
    assert!(early.payment_intent < late.payment_intent);
    assert_eq!(early.payment_intent.len(), "pi_3RTkpYQ8iJWBZFaM1LBHNo0J".len());
}

#[test]
fn bodies_are_events_of_a_lifelike_size() {
    for seed in 0..8 {
        let mut sampler = Sampler::new(seed);
        for event_type in TYPES {
            let event = sampler.single(event_type, START, &Overrides::default()).expect(event_type);
            let json: Value = serde_json::from_str(&event.body).unwrap_or_else(|error| panic!("{event_type}: {error}"));
            assert_eq!((json["id"].as_str(), json["type"].as_str()), (Some(&*event.id), Some(*event_type)));
            let read = envelope(event.body.as_bytes()).expect(event_type);
            assert_eq!((read.event_id, read.created_at), (event.id, Some(event.created_at)));
            let statement = normalise(event.body.as_bytes()).expect(event_type);
            assert!(!statement.facts.is_empty(), "{event_type}");
            let size = match statement.object_id.as_deref().and_then(|id| id.split('_').next()) {
                Some("pi") => 2_400..2_900,
                Some("ch") => 2_600..3_300,
                _ => 900..3_300,
            };
            assert!(size.contains(&event.body.len()), "{event_type}: {} bytes", event.body.len());
        }
    }
    assert_eq!(Sampler::new(1).single("customer.created", START, &Overrides::default()), None);
}

#[test]
fn singles_move_a_payment_to_where_their_type_says() {
    use domain::PaymentStatus::{Authorized, Canceled, Failed, Paid, Pending, Processing, Refunded, RequiresAction};
    let cases = [
        ("payment_intent.created", Pending),
        ("payment_intent.requires_action", RequiresAction),
        ("payment_intent.processing", Processing),
        ("payment_intent.amount_capturable_updated", Authorized),
        ("payment_intent.payment_failed", Failed),
        ("payment_intent.succeeded", Paid),
        ("payment_intent.canceled", Canceled),
        ("charge.pending", Processing),
        ("charge.succeeded", Paid),
        ("charge.failed", Failed),
        ("charge.captured", Paid),
        ("charge.updated", Paid),
        ("charge.refunded", Refunded),
        ("checkout.session.completed", Paid),
        ("checkout.session.async_payment_succeeded", Paid),
        ("checkout.session.async_payment_failed", Failed),
        ("checkout.session.expired", Canceled),
    ];
    for (event_type, status) in cases {
        let event = Sampler::new(5).single(event_type, START, &Overrides::default()).expect(event_type);
        let ledger = ledger(&[event_facts(event.body.as_bytes())]);
        let [payment] = payments(&ledger)[..] else { panic!("{event_type}: one payment") };
        assert_eq!(payment.status, status, "{event_type}");
    }
    // The charge is released; that the intent is canceled, its own event says.
    let event = Sampler::new(5).single("charge.expired", START, &Overrides::default()).expect("a charge");
    let facts = event_facts(event.body.as_bytes()).facts;
    assert!(facts.charges.values().all(|charge| charge.voided));
}

#[test]
fn overrides_take_the_place_of_what_is_made_up() {
    let overrides = Overrides {
        amount: Minor::new(15_000),
        currency: Currency::parse("jpy"),
        order_id: Some("6735 \"quoted\"".to_owned()),
        payment_id: Some("1".to_owned()),
        transaction_id: Some("TXN-1".to_owned()),
        booking_id: Some("B-7".to_owned()),
        payment_intent: Some("pi_mine".to_owned()),
        charge: Some("ch_mine".to_owned()),
        session: Some("cs_mine".to_owned()),
        status: Some("processing".to_owned()),
        livemode: true,
        no_made_up_order: false,
    };
    let event = Sampler::new(1).single("payment_intent.succeeded", START, &overrides).expect("an event");
    let facts = event_facts(event.body.as_bytes());
    assert_eq!(facts.scope.mode, domain::Mode::Live);
    let intent = &facts.facts.intents["pi_mine"];
    assert!(intent.type_disagrees, "a status that does not suit the type is sent all the same");
    let details = intent.details.get().expect("details");
    assert_eq!((details.amount, details.currency), (overrides.amount, overrides.currency));
    assert_eq!(details.order_id, overrides.order_id);
    assert_eq!(details.metadata["payment_id"], "1");
    assert_eq!(details.metadata["transaction_id"], "TXN-1");
    assert_eq!(details.metadata["booking_id"], "B-7");
    let session = Sampler::new(1).single("checkout.session.completed", START, &Overrides { status: None, ..overrides });
    let facts = event_facts(session.expect("an event").body.as_bytes()).facts;
    assert!(facts.sessions["cs_mine"].paid_at.is_some() && facts.sessions["cs_mine"].intents.contains("pi_mine"));
    assert_eq!(facts.sessions["cs_mine"].details.get().expect("details").metadata["booking_id"], "B-7");
    let most = Overrides { amount: Minor::new(i64::MAX), ..Overrides::default() };
    for kind in LifeKind::ALL {
        assert!(!Sampler::new(1).life(kind, START, &most).events.is_empty());
    }
}

#[test]
fn an_order_is_made_up_unless_that_is_not_wanted() {
    for (unwanted, given) in [(false, None), (true, None), (true, Some("6735"))] {
        let overrides =
            Overrides { no_made_up_order: unwanted, order_id: given.map(str::to_owned), ..Overrides::default() };
        let session = Sampler::new(1).single("checkout.session.completed", START, &overrides).expect("a session");
        let body: serde_json::Value = serde_json::from_str(&session.body).expect("JSON");
        let object = &body["data"]["object"];
        assert_eq!(object["metadata"]["order_id"].is_string(), !unwanted || given.is_some(), "{object}");
        assert_eq!(object["client_reference_id"].is_string(), !unwanted || given.is_some(), "{object}");
    }
}
