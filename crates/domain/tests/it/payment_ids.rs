//! A payment's id is the same whatever came first, and no id that anybody saw
//! leads nowhere.

use std::collections::{BTreeMap, BTreeSet};

use domain::{EventFacts, Facts, Outcome, Scope};
use proptest::prelude::*;

use crate::lives::{short, shuffled};
use crate::orderings::{one_end_state, permutations, registered};
use crate::permutations::cases;
use crate::said::{charge, dispute, event, of, refund, scope, session, succeeded, thin};

fn of_intent(told: &mut domain::charge::ChargeFacts) {
    told.intents.insert("pi_1".to_owned());
}

#[test]
fn the_object_that_names_a_payment_best_gives_its_id() {
    let ch = || charge("ch_1", 10, [500, 500, 0], |_| {});
    let ch_of_intent = || charge("ch_1", 10, [500, 500, 0], of_intent);
    let cs = || session("cs_1", 5, "unpaid", |_| {});
    let cs_of_intent = || session("cs_1", 20, "paid", |session| session.intents.extend(["pi_1".to_owned()]));
    let pi = scope().derived_id("pay", "pi_1");
    let cases: [(&str, Vec<EventFacts>); 6] = [
        ("charge before intent", vec![ch_of_intent(), succeeded("pi_1", 11)]),
        (
            "refund, charge, intent",
            vec![refund("re_1", "pending", 5, of("ch_1")), ch_of_intent(), succeeded("pi_1", 11)],
        ),
        ("charge without intent, learned later", vec![ch(), ch_of_intent()]),
        ("session before its intent is known", vec![cs(), cs_of_intent(), succeeded("pi_1", 21)]),
        ("session, and a charge that only the intent ties to it", vec![cs(), ch_of_intent(), cs_of_intent()]),
        (
            "dispute of a charge, thin",
            vec![dispute("dp_1", 9, "lost", "ch_1", &[]), ch_of_intent(), thin("evt_t", 3, "pi_1")],
        ),
    ];
    for (name, events) in cases {
        let ledger = one_end_state(name, &events);
        assert_eq!(ledger.payments().keys().collect::<Vec<_>>(), [&pi], "{name}");
        let view = &ledger.payments()[&pi].payment;
        assert_eq!((view.id.as_str(), view.gateway_transaction_id.as_deref()), (pi.as_str(), Some("pi_1")), "{name}");
    }
}

#[test]
fn one_id_of_two_kinds_is_two_payments() {
    // A gateway whose ids are plain numbers: charge 43 stands alone at first, then
    // turns out to be of intent 42; intent 43 is another payment.
    let events = [
        charge("43", 10, [500, 500, 0], |_| {}),
        charge("43", 11, [500, 500, 0], |charge| charge.intents.extend(["42".to_owned()])),
        succeeded("43", 12),
    ];
    let ledger = one_end_state("numbers as ids", &events);
    assert_eq!(ledger.payments().len(), 2);
    let apart = one_end_state("no intent", &[events[0].clone(), events[2].clone()]);
    assert_eq!(apart.payments().len(), 2);
}

#[test]
fn scopes_keep_payments_apart() {
    let test = Scope { mode: domain::Mode::Test, ..scope() };
    let events = [succeeded("pi_1", 10), EventFacts { scope: test, ..succeeded("pi_1", 10) }];
    assert_eq!(one_end_state("live and test", &events).payments().len(), 2);
}

#[test]
fn nothing_is_no_payment() {
    assert!(Facts::default().is_empty());
    assert_eq!(Facts::default().payment_id(&scope()), None);
    let mut ledger = registered();
    assert_eq!(ledger.apply(&event(Facts::default())), Outcome::Ignored);
    assert!(ledger.payments().is_empty());
}

/// Applies the events one by one and follows every id that was given out.
fn assert_ids_lead_on(events: &[EventFacts]) -> BTreeSet<String> {
    let mut ledger = registered();
    let mut seen = BTreeSet::new();
    for event in events {
        if let Outcome::Applied { payment_id, .. } = ledger.apply(event) {
            assert!(ledger.payments().contains_key(&payment_id));
        }
        seen.extend(ledger.payments().values().filter(|e| e.payment.visible).map(|e| e.payment.id.clone()));
        let renamed: BTreeMap<_, _> = ledger.renamed().collect();
        for id in &seen {
            let now = renamed.get(id.as_str()).copied().unwrap_or(id);
            let entry = ledger.payments().get(now).expect("every id leads to a payment");
            assert!(entry.payment.visible, "what was visible stays so");
            assert!(!renamed.contains_key(now), "in one step");
        }
    }
    for (id, entry) in ledger.payments() {
        assert_eq!(entry.facts.payment_id(&entry.scope).as_ref(), Some(id));
        assert_eq!(entry.payment.id, *id);
    }
    ledger.payments().keys().cloned().collect()
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn ids_do_not_depend_on_what_came_first(
        (events, arriving) in short(12).prop_flat_map(|events| (Just(events.clone()), shuffled(events)))
    ) {
        prop_assert_eq!(assert_ids_lead_on(&events), assert_ids_lead_on(&arriving));
    }

    #[test]
    fn ids_do_not_depend_on_any_order_of_four(events in short(4)) {
        let ids: BTreeSet<_> = permutations(events.len())
            .iter()
            .map(|order| assert_ids_lead_on(&order.iter().map(|i| events[*i].clone()).collect::<Vec<_>>()))
            .collect();
        prop_assert_eq!(ids.len(), 1);
    }
}
