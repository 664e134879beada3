//! Payments of senders that only say completed or failed.

use std::collections::BTreeMap;

use domain::external::{ExternalFacts, ExternalIds, StatedAmount};
use domain::lattice::{Join, Latest};
use domain::money::{Decimal, Minor};
use domain::{Currency, EventFacts, Facts, Flag, Payment, PaymentStatus, Registration, Terms};

use crate::orderings::permutations;
use crate::said::{at, details, dollars, external, minor, scope, usd};

fn ids(transaction: Option<&str>, payment: Option<&str>) -> ExternalIds {
    let owned = |id: Option<&str>| id.map(str::to_owned);
    ExternalIds { transaction: owned(transaction), payment: owned(payment), order: None }
}

fn transaction(seconds: i64, word: &str) -> EventFacts {
    external(ids(Some("TXN-1"), None), seconds, word, |_| {})
}

/// What a payment of 150.00 USD that the application registered comes to.
fn registered<'a>(events: impl IntoIterator<Item = &'a EventFacts>) -> Payment {
    let terms = Terms {
        order_id: None,
        amount: minor(15_000),
        currency: usd().expect("a code"),
        gateway: None,
        method: None,
        metadata: BTreeMap::new(),
    };
    let mut registration = Registration::new(terms);
    registration.transaction_ids.insert("TXN-1".to_owned());
    registration.external_ids.insert("43".to_owned());
    let mut facts = Facts { registrations: [("pay_1".to_owned(), registration)].into(), ..Facts::default() };
    for event in events {
        facts.join(event.facts.clone());
    }
    facts.payment(&scope()).expect("it is registered")
}

#[test]
fn completed_counts_and_a_contradiction_is_flagged_in_every_order() {
    use PaymentStatus::{Failed, Paid};
    type Case<'a> = (&'a [(i64, &'a str)], PaymentStatus, bool, Option<i64>);
    let cases: [Case<'_>; 9] = [
        (&[(5, "completed")], Paid, false, Some(5)),
        (&[(5, "failed")], Failed, false, None),
        (&[(5, "failed"), (6, "failed")], Failed, false, None),
        (&[(5, "failed"), (6, "completed")], Paid, false, Some(6)),
        (&[(5, "completed"), (6, "failed")], Paid, true, Some(5)),
        (&[(5, "completed"), (5, "failed")], Paid, true, Some(5)),
        (&[(4, "failed"), (5, "completed"), (6, "failed")], Paid, true, Some(5)),
        (&[(4, "completed"), (5, "failed"), (6, "completed")], Paid, true, Some(4)),
        (&[(4, "failed"), (5, "completed"), (6, "completed"), (5, "completed")], Paid, false, Some(5)),
    ];
    for (words, status, flagged, captured_at) in cases {
        let events: Vec<EventFacts> = words.iter().map(|(seconds, word)| transaction(*seconds, word)).collect();
        for order in permutations(events.len()) {
            let payment = registered(order.iter().chain(&[0]).map(|index| &events[*index])); // The first one twice.
            assert_eq!(payment.status, status, "{words:?} as {order:?}");
            assert_eq!(payment.flags.contains(&Flag::FailedAfterCompleted), flagged, "{words:?} as {order:?}");
            assert_eq!(payment.captured_at, captured_at.map(at), "{words:?} as {order:?}");
        }
    }
}

#[test]
fn nothing_is_visible_that_was_not_registered() {
    let event = transaction(5, "completed");
    assert!(event.facts.creates && !event.facts.is_empty() && !event.facts.has_payment());
    assert!(!event.facts.payment(&scope()).expect("it has a name").visible);
    assert!(registered([&event]).visible);
}

#[test]
fn ids_of_different_kinds_do_not_collide_and_tie_together_what_names_both() {
    let keys = |event: &EventFacts| event.facts.keys();
    let payment_43 = external(ids(None, Some("43")), 1, "failed", |_| {});
    let transaction_43 = external(ids(Some("43"), None), 1, "failed", |_| {});
    let order_43 = ExternalIds { order: Some("43".to_owned()), ..ExternalIds::default() };
    let order_43 = external(order_43, 1, "failed", |_| {});
    let both = external(ids(Some("TXN-9"), Some("43")), 2, "completed", |_| {});
    let disjoint = |one: &EventFacts, other: &EventFacts| keys(one).is_disjoint(&keys(other));
    assert!(disjoint(&payment_43, &transaction_43));
    assert!(disjoint(&payment_43, &order_43) && disjoint(&transaction_43, &order_43));
    assert!(disjoint(&both, &transaction_43) && !disjoint(&both, &payment_43));
    assert_eq!(ExternalIds::default().facts(), None::<(String, ExternalFacts)>);
    let payment = registered([&payment_43, &both]);
    assert_eq!((payment.status, payment.failed_attempts), (PaymentStatus::Paid, 1));
    assert_eq!(payment.flags.len(), 0, "{:?}", payment.flags);
}

#[test]
fn amounts_are_exact_and_those_without_a_currency_are_read_in_the_registered_one() {
    let decimal = |text: &str| StatedAmount::Decimal(Decimal::parse(text).expect(text));
    let euros = |cents| match dollars(cents) {
        StatedAmount::Money(money) => {
            StatedAmount::Money(domain::Money { currency: Currency::parse("EUR").expect("a code"), ..money })
        }
        other => other,
    };
    type Case<'a> = (&'a [StatedAmount], i64, Option<Flag>);
    let cases: [Case<'_>; 8] = [
        (&[], 15_000, None),
        (&[dollars(15_000)], 15_000, None),
        (&[dollars(14_999)], 14_999, None),
        (&[decimal("150")], 15_000, None),
        (&[decimal("150"), dollars(15_000)], 15_000, None),
        (&[decimal("149.99"), dollars(15_000)], 15_000, Some(Flag::AmountDisagrees)),
        (&[dollars(100), dollars(15_000)], 15_000, Some(Flag::AmountDisagrees)),
        (&[dollars(15_000), euros(15_000)], 15_000, Some(Flag::CurrencyDisagrees)),
    ];
    for (amounts, captured, flag) in cases {
        let said = |amount: &StatedAmount| {
            external(ids(Some("TXN-1"), None), 5, "completed", |said| said.completed.amounts = [amount.clone()].into())
        };
        let mut events: Vec<EventFacts> = amounts.iter().map(said).collect();
        if events.is_empty() {
            events.push(transaction(5, "completed"));
        }
        let payment = registered(&events);
        assert_eq!(payment.amount_captured, minor(captured), "{amounts:?}");
        let raised = |flag| payment.flags.contains(&flag);
        assert_eq!(raised(Flag::AmountDisagrees) || raised(Flag::CurrencyDisagrees), flag.is_some(), "{amounts:?}");
        assert!(flag.is_none_or(raised), "{amounts:?}: {:?}", payment.flags);
    }
    let failed = external(ids(Some("TXN-1"), None), 5, "failed", |said| said.failed.amounts = [dollars(1)].into());
    assert_eq!(registered([&failed]).amount_captured, Minor::ZERO);
}

#[test]
fn success_describes_a_payment_before_failure_does() {
    let say = |seconds, word, method: &str| {
        let method = Some(method.to_owned());
        external(ids(Some("TXN-1"), Some("P1")), seconds, word, |external| {
            let seen = if word == "completed" { &mut external.completed } else { &mut external.failed };
            let details = domain::intent::Details { method, ..details(15_000, Some("6735")) };
            seen.details = Latest::said(at(seconds), "evt", details);
        })
    };
    let events = [say(5, "completed", "webpay"), say(6, "failed", "paypal")];
    for order in [[0, 1], [1, 0]] {
        let payment = registered(order.map(|index| &events[index]));
        assert_eq!(payment.method.as_deref(), Some("webpay"));
        assert_eq!(payment.order_id.as_deref(), Some("6735"));
    }
}
