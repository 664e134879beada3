//! Recorded events. See `DOMAIN.md` for the grades.

use domain::{DisputeStatus, EventFacts, Mode, PaymentStatus};
use gateways::paypal::{envelope, normalise};
use http::HeaderMap;
use serde_json::Value;

use super::support::{NOW, at, event_facts};
use crate::support::{corpus, ledger, payments, read, read_json};

struct Recorded {
    name: String,
    index: Value,
    body: Vec<u8>,
}

fn recorded() -> Vec<Recorded> {
    let index = read_json(&corpus("events/paypal/index.json"));
    let events = index.as_array().expect("a list").iter().map(|entry| {
        let name = entry["file"].as_str().expect("file").to_owned();
        let body = read(&corpus("events/paypal").join(&name));
        Recorded { name, index: entry.clone(), body }
    });
    let events: Vec<Recorded> = events.collect();
    assert!(events.len() >= 50, "{} events", events.len());
    events
}

#[test]
fn every_event_normalises_or_is_of_no_concern() {
    for Recorded { name, index, body } in recorded() {
        let read = envelope(&HeaderMap::new(), &body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let statement = normalise(&body, at(NOW)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(index["type"], read.event_type.as_str(), "{name}");
        assert_eq!(index["event_id"], read.event_id.as_str(), "{name}");
        let has_month_19 = index["create_time"] == "2018-19-12T22:20:32.000Z";
        assert_eq!(read.created_at.is_none(), has_month_19, "{name}");
        let text = String::from_utf8_lossy(&body);
        let is_of_sandbox =
            ["api", "api-m"].iter().any(|api| text.contains(&format!("\"https://{api}.sandbox.paypal.com/")));
        assert_eq!(read.mode == Mode::Test, is_of_sandbox, "{name}");
        let concerns = ["PAYMENT.", "CHECKOUT.", "CUSTOMER.DISPUTE."].iter().any(|p| read.event_type.starts_with(p));
        assert_eq!(concerns, !statement.facts.is_empty(), "{name}: {statement:?}");
        assert_eq!(concerns, statement.object_id.is_some(), "{name}");
        let asks = read.event_type == "CUSTOMER.DISPUTE.RESOLVED" || read.event_type.starts_with("CHECKOUT.PAYMENT-A");
        assert_eq!(asks, statement.needs_fetch, "{name}");
    }
}

/// What each event comes to on its own: the payment's status, whether there is a payment
/// yet, and what was captured and refunded, in minor units.
#[test]
fn each_event_states_what_it_should() {
    use PaymentStatus::{Authorized, Canceled, Failed, Paid, Pending, Processing, Refunded};
    let expected = [
        ("ankurk91__CHECKOUT.ORDER.COMPLETED", Paid, true, 10000, 0),
        ("gist-go__PAYMENT.SALE.COMPLETED", Paid, true, 46000, 0),
        ("gumroad__CUSTOMER.DISPUTE.RESOLVED", Pending, false, 0, 0),
        ("gumroad__PAYMENT.CAPTURE.COMPLETED", Paid, true, 131, 0),
        ("gumroad__PAYMENT.CAPTURE.REFUNDED", Refunded, false, 0, 99),
        ("gumroad__PAYMENT.CAPTURE.REFUNDED__3", Refunded, false, 0, 198),
        ("invoiceninja__CHECKOUT.ORDER.COMPLETED", Paid, true, 128_513, 0),
        ("invoiceninja__PAYMENT.AUTHORIZATION.CREATED", Authorized, true, 0, 0),
        ("oxid__CHECKOUT.ORDER.APPROVED", Processing, true, 0, 0),
        ("oxid__CHECKOUT.ORDER.COMPLETED", Paid, true, 10000, 0),
        ("oxid__CHECKOUT.ORDER.COMPLETED__2", Paid, true, 3380, 0),
        ("oxid__CHECKOUT.PAYMENT-APPROVAL.REVERSED", Canceled, false, 0, 0),
        ("oxid__PAYMENT.CAPTURE.COMPLETED", Paid, true, 3380, 0),
        ("oxid__PAYMENT.CAPTURE.COMPLETED__2", Paid, true, 747, 0),
        ("oxid__PAYMENT.CAPTURE.COMPLETED__3", Paid, true, 251, 0),
        ("oxid__PAYMENT.CAPTURE.DENIED", Failed, true, 0, 0),
        ("oxid__PAYMENT.CAPTURE.REFUNDED", Refunded, false, 0, 700),
        ("paypal2-signed__PAYMENT.CAPTURE.COMPLETED", Paid, true, 3000, 0),
        ("paypal2-signed__PAYMENT.CAPTURE.DECLINED", Failed, true, 0, 0),
        ("paypal2-signed__PAYMENT.CAPTURE.PENDING", Processing, true, 0, 0),
        ("paypal2-signed__PAYMENT.CAPTURE.REFUNDED", Refunded, false, 0, 99),
        ("paypal2-signed__PAYMENT.SALE.REFUNDED", Refunded, false, 0, 1),
        ("pp-docs__PAYMENT.CAPTURE.DENIED", Failed, true, 0, 0),
        ("pp-node-sdk__PAYMENT.SALE.COMPLETED", Paid, true, 601, 0),
        ("zencart__PAYMENT.CAPTURE.COMPLETED", Paid, true, 5700, 0),
    ];
    for (name, status, visible, captured, refunded) in expected {
        let ledger = ledger(&[event_facts(&read(&corpus("events/paypal").join(format!("{name}.json"))))]);
        let [payment] = payments(&ledger)[..] else { panic!("{name}: one payment") };
        let amounts = (payment.amount_captured.units(), payment.amount_refunded.units());
        assert_eq!((payment.status, payment.visible, amounts), (status, visible, (captured, refunded)), "{name}");
    }
}

#[test]
fn of_two_outcomes_at_one_instant_the_loss_counts() {
    let events = ["gumroad__CUSTOMER.DISPUTE.RESOLVED.json", "gumroad__CUSTOMER.DISPUTE.RESOLVED__2.json"]
        .map(|name| event_facts(&read(&corpus("events/paypal").join(name))));
    for (events, status) in
        [(&events[..1], DisputeStatus::Won), (&events[1..], DisputeStatus::Lost), (&events[..], DisputeStatus::Lost)]
    {
        assert_eq!(payments(&ledger(events))[0].dispute_status, status);
    }
}

/// One capture at an alternative method of payment: pending, then completed.
#[test]
fn a_pending_capture_completes_in_either_order() {
    let [pending, completed] = ["PENDING", "COMPLETED"]
        .map(|what| event_facts(&read(&corpus("events/paypal").join(format!("pp-docs__PAYMENT.CAPTURE.{what}.json")))));
    for order in [[&pending, &completed], [&completed, &pending]] {
        let ledger = ledger(order);
        let [payment] = payments(&ledger)[..] else { panic!("one payment") };
        assert_eq!((payment.status, payment.amount_captured.units()), (PaymentStatus::Paid, 1539));
        assert_eq!(payment.captured_at, domain::Timestamp::parse("2023-10-19T12:18:22Z"));
        // The second event leaves them out.
        assert_eq!(payment.metadata["custom_id"], "Custom-1234");
        assert_eq!(payment.metadata["invoice_id"], "Invoice-12345");
        assert_eq!(payment.flags, [domain::Flag::NotConfirmed].into());
    }
}

#[test]
fn any_order_of_all_events_ends_in_the_same_state() {
    let events: Vec<EventFacts> = recorded().iter().map(|event| event_facts(&event.body)).collect();
    let in_order = ledger(&events);
    for seed in [1, 2, 3, 4, 5] {
        let mut shuffled: Vec<&EventFacts> = events.iter().chain(&events).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let shuffled = ledger(shuffled);
        assert_eq!(payments(&in_order), payments(&shuffled), "seed {seed}");
    }
}
