//! What the application registers is an input like any other: early, late or in between,
//! the end is the same.

use std::collections::{BTreeMap, BTreeSet};

use domain::booking::{BookingInputs, BookingStatus, BookingTerms, Claim, OnConflict};
use domain::lattice::Latest;
use domain::payment::{Flag, HoldReason};
use domain::{Currency, Days, EventFacts, Facts, Ledger, Mode, Money, PaymentStatus, Registration, Scope, Terms};

use crate::orderings::{as_json, permutations};
use crate::said::{at, details, external, intent, minor, refund, scope, usd};

#[derive(Clone)]
enum Input {
    Event(EventFacts),
    Payment(&'static str, Registration),
    Order(&'static str, i64),
    Booking(&'static str, BookingInputs),
}

fn nowhere() -> Scope {
    Scope { account: scope().account, gateway: String::new(), mode: Mode::Live }
}

fn currency() -> Currency {
    usd().expect("a code")
}

fn put(ledger: &mut Ledger, input: &Input) {
    match input {
        Input::Event(event) => {
            ledger.apply(event);
        }
        Input::Payment(id, registration) => {
            ledger.register(&nowhere(), id, registration.clone());
            for claimant in ledger.claimants(id) {
                ledger.rejoin(&claimant);
            }
        }
        Input::Order(id, due) => {
            ledger.register_order(id, Money { amount: minor(*due), currency: currency() });
            rejoin_all(ledger);
        }
        Input::Booking(id, inputs) => {
            ledger.register_booking(id, inputs.clone());
            rejoin_all(ledger);
        }
    }
}

fn rejoin_all(ledger: &mut Ledger) {
    for id in ledger.payments().keys().cloned().collect::<Vec<_>>() {
        ledger.rejoin(&id);
    }
}

/// Every permutation of the inputs ends in the state that is returned.
#[track_caller]
fn one_end(name: &str, inputs: &[Input]) -> Ledger {
    let fold = |order: &[usize]| {
        let mut ledger = Ledger::default();
        order.iter().for_each(|index| put(&mut ledger, &inputs[*index]));
        ledger
    };
    let whole = |ledger: &Ledger| {
        let bookings: BTreeMap<_, _> = ledger.bookings().iter().map(|(id, entry)| (id, entry.booking)).collect();
        (as_json(ledger), serde_json::to_value(bookings).expect("it renders"))
    };
    let orders = permutations(inputs.len());
    let first = fold(&orders[0]);
    for order in &orders[1..] {
        assert_eq!(whole(&fold(order)), whole(&first), "{name}: {order:?}");
    }
    first
}

fn terms(order_id: Option<&str>, amount: i64) -> Registration {
    Registration::new(Terms {
        order_id: order_id.map(str::to_owned),
        amount: minor(amount),
        currency: currency(),
        gateway: None,
        method: None,
        metadata: BTreeMap::new(),
    })
}

fn with_gateway_id(mut registration: Registration, id: &str) -> Registration {
    registration.gateway_ids.insert(id.to_owned());
    registration
}

/// As an endpoint with `unmatched = reject` hands it in.
fn unasked(mut event: EventFacts) -> EventFacts {
    event.facts.creates = false;
    event.facts.note_names();
    event
}

fn pays(id: &str, seconds: i64, amount: i64, metadata: &[(&str, &str)]) -> EventFacts {
    let metadata: BTreeMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    intent(id, seconds, "succeeded", |intent| {
        let order_id = metadata.get("order_id").map(String::as_str);
        let mut details = details(amount, order_id);
        details.metadata = metadata.clone();
        intent.details = Latest::said(at(seconds), &format!("evt_{id}_{seconds}"), details);
        intent.amount_received = domain::lattice::Largest::of(minor(amount));
    })
}

#[test]
fn a_payment_registered_at_any_time_is_the_same() {
    let end = one_end(
        "by its intent",
        &[
            Input::Payment("pay_1", with_gateway_id(terms(Some("6735"), 500), "pi_1")),
            Input::Order("6735", 500),
            Input::Event(unasked(intent("pi_1", 5, "processing", |_| {}))),
            Input::Event(unasked(pays("pi_1", 6, 500, &[]))),
            Input::Event(unasked(pays("pi_1", 6, 500, &[]))),
        ],
    );
    let payment = &end.payments()["pay_1"].payment;
    assert_eq!((payment.status, payment.visible), (PaymentStatus::Paid, true));
    assert_eq!(end.orders()["6735"].order.as_ref().expect("an order").payment_status, PaymentStatus::Paid);
    assert_eq!(end.payments().len(), 1);
}

#[test]
fn the_metadata_of_any_event_names_the_payment() {
    let named = |seconds, metadata: &[(&str, &str)]| Input::Event(unasked(pays("pi_1", seconds, 500, metadata)));
    let end = one_end(
        "by metadata",
        &[
            Input::Payment("6735-1", terms(None, 500)),
            named(5, &[("payment_id", "6735-1")]),
            named(6, &[]), // The last word on metadata does not name it any more.
            Input::Event(unasked(refund("re_1", "succeeded", 200, |refund| {
                refund.intents.insert("pi_1".to_owned());
            }))),
        ],
    );
    let payment = &end.payments()["6735-1"].payment;
    assert_eq!((payment.status, payment.hold_reason), (PaymentStatus::PartiallyRefunded, None));
}

#[test]
fn what_a_payer_can_choose_is_held_until_enough_came() {
    let cases = [
        ("less, by metadata", 100, &[("payment_id", "p")][..], None, PaymentStatus::Pending, true),
        ("more, by metadata", 900, &[("payment_id", "p")], None, PaymentStatus::Paid, false),
        ("the same, by metadata", 500, &[("payment_id", "p")], None, PaymentStatus::Paid, false),
        ("less, by its registered intent", 100, &[], Some("pi_1"), PaymentStatus::Paid, false),
    ];
    for (name, amount, metadata, gateway_id, status, held) in cases {
        let mut registration = terms(None, 500);
        registration.gateway_ids.extend(gateway_id.map(str::to_owned));
        let inputs = [
            Input::Payment("p", registration),
            Input::Event(unasked(intent("pi_1", 5, "processing", |_| {}))),
            Input::Event(unasked(pays("pi_1", 6, amount, metadata))),
        ];
        let end = one_end(name, &inputs);
        let payment = &end.payments()["p"].payment;
        assert_eq!(payment.status, status, "{name}");
        assert_eq!(payment.hold_reason, held.then_some(HoldReason::AmountMismatch), "{name}");
        assert_eq!(payment.flags.contains(&Flag::AmountMismatch), amount != 500, "{name}");
    }
}

#[test]
fn money_of_one_intent_does_not_vouch_for_another() {
    // The real one is named by the application and unpaid; a payer names the payment in
    // the metadata of one of his own, for a cent.
    let end = one_end(
        "two intents",
        &[
            Input::Payment("p", with_gateway_id(terms(None, 500), "pi_real")),
            Input::Event(unasked(intent("pi_real", 5, "requires_payment_method", |intent| {
                intent.details = Latest::said(at(5), "evt_real", details(500, None));
            }))),
            Input::Event(unasked(pays("pi_cheap", 6, 1, &[("payment_id", "p")]))),
        ],
    );
    let payment = &end.payments()["p"].payment;
    assert_eq!((payment.status, payment.hold_reason), (PaymentStatus::Pending, Some(HoldReason::AmountMismatch)));
}

#[test]
fn an_operator_releases_what_is_held() {
    let mut ledger = Ledger::default();
    put(&mut ledger, &Input::Order("6735", 500));
    put(&mut ledger, &Input::Payment("p", terms(Some("6735"), 500)));
    put(&mut ledger, &Input::Event(unasked(pays("pi_1", 6, 400, &[("payment_id", "p")]))));
    assert_eq!(ledger.payments()["p"].payment.status, PaymentStatus::Pending);
    let changes = ledger.release("p");
    assert_eq!(changes.iter().map(|change| change.to).collect::<Vec<_>>(), ["paid"]);
    assert_eq!(ledger.payments()["p"].payment.status, PaymentStatus::Paid);
    let order = ledger.orders()["6735"].order.clone().expect("an order");
    assert_eq!((order.payment_status, order.amount_paid), (PaymentStatus::Pending, minor(400)), "400 of 500 are there");
}

#[test]
fn generic_senders_confirm_what_was_registered_under_either_of_their_names() {
    let said = |seconds: i64, word: &str| {
        let ids = domain::external::ExternalIds {
            transaction: Some("TXN-1".to_owned()),
            payment: Some("77".to_owned()),
            order: None,
        };
        Input::Event(unasked(external(ids, seconds, word, |_| {})))
    };
    let mut by_transaction = terms(None, 500);
    by_transaction.transaction_ids.insert("TXN-1".to_owned());
    let mut by_payment = terms(None, 500);
    by_payment.external_ids.insert("77".to_owned());
    for (name, id, registration) in
        [("transaction", "a", by_transaction), ("payment", "b", by_payment), ("own id", "77", terms(None, 500))]
    {
        let end = one_end(name, &[Input::Payment(id, registration), said(5, "failed"), said(9, "completed")]);
        let payment = &end.payments()[id].payment;
        assert_eq!((payment.status, payment.visible), (PaymentStatus::Paid, true), "{name}");
        assert_eq!(payment.amount_captured, minor(500), "{name}: without an amount it is the registered one");
    }
}

#[test]
fn an_order_takes_the_only_payment_that_has_nothing_of_a_gateway() {
    let event = Input::Event(unasked(pays("pi_1", 6, 500, &[("order_id", "6735")])));
    let end = one_end(
        "one payment",
        &[Input::Order("6735", 500), Input::Payment("p", terms(Some("6735"), 500)), event.clone()],
    );
    assert_eq!(end.payments()["p"].payment.status, PaymentStatus::Paid);
    assert_eq!(end.payments().len(), 1);
    // With two of them it is nobody's, and makes its own payment on that order.
    let mut ledger = Ledger::default();
    for input in [
        Input::Order("6735", 500),
        Input::Payment("p", terms(Some("6735"), 500)),
        Input::Payment("q", terms(Some("6735"), 500)),
        event,
    ] {
        put(&mut ledger, &input);
    }
    assert_eq!(ledger.payments().len(), 3);
    assert_eq!(ledger.payments()["p"].payment.status, PaymentStatus::Pending);
    assert_eq!(ledger.orders()["6735"].order.as_ref().expect("an order").payment_status, PaymentStatus::Paid);
}

fn stay(start: &str, end: &str, session: Option<&str>) -> BookingInputs {
    BookingInputs {
        terms: BookingTerms {
            resource_id: "room".to_owned(),
            days: Days::parse(start, end).expect("days"),
            amount: Some(minor(500)),
            currency: usd(),
            on_conflict: OnConflict::Cancel,
            session_ids: session.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(),
            hinted_session_ids: BTreeSet::new(),
            released: false,
        },
        claim: None,
        canceled: false,
    }
}

#[test]
fn a_booking_is_confirmed_by_its_payment_whatever_came_first() {
    let end = one_end(
        "one booking",
        &[
            Input::Booking("1", stay("2026-12-01", "2026-12-05", None)),
            Input::Event(unasked(intent("pi_1", 5, "payment_failed", |_| {}))),
            Input::Event(unasked(pays("pi_1", 6, 500, &[("booking_id", "1")]))),
        ],
    );
    assert_eq!(end.bookings()["1"].booking.status, BookingStatus::Confirmed);
    assert!(end.payments().values().all(|entry| entry.payment.visible));
}

#[test]
fn confirmed_bookings_of_a_resource_never_share_a_day() {
    let inputs = [
        Input::Booking("1", stay("2026-12-01", "2026-12-05", None)),
        Input::Booking("2", stay("2026-12-04", "2026-12-06", None)),
        Input::Booking("3", stay("2026-12-05", "2026-12-07", None)),
        Input::Event(unasked(pays("pi_1", 6, 500, &[("booking_id", "1")]))),
        Input::Event(unasked(pays("pi_2", 6, 500, &[("booking_id", "2")]))),
        Input::Event(unasked(pays("pi_3", 6, 500, &[("booking_id", "3")]))),
    ];
    for order in permutations(inputs.len()) {
        let mut ledger = Ledger::default();
        order.iter().for_each(|index| put(&mut ledger, &inputs[*index]));
        let confirmed: Vec<_> = ledger.bookings().iter().filter(|(_, entry)| entry.inputs.holds_days()).collect();
        for (id, entry) in &confirmed {
            for (other, another) in confirmed.iter().filter(|(other, _)| other != id) {
                assert!(!entry.inputs.terms.days.overlaps(&another.inputs.terms.days), "{id} and {other}: {order:?}");
            }
        }
        for (id, entry) in ledger.bookings().iter().filter(|(_, entry)| !entry.inputs.holds_days()) {
            let Some(Claim::Lost(winner)) = &entry.inputs.claim else { panic!("{id} neither won nor lost: {order:?}") };
            assert!(ledger.bookings()[winner].inputs.terms.days.overlaps(&entry.inputs.terms.days));
            assert_eq!(entry.booking.status, BookingStatus::Cancelled);
        }
    }
}

#[test]
fn less_money_by_metadata_confirms_no_booking_but_a_registered_session_does() {
    let by_metadata = one_end(
        "a cent",
        &[
            Input::Booking("1", stay("2026-12-01", "2026-12-05", None)),
            Input::Event(unasked(pays("pi_1", 6, 1, &[("booking_id", "1")]))),
        ],
    );
    assert_eq!(by_metadata.bookings()["1"].booking.status, BookingStatus::Pending);
    let session = |amount| {
        let mut facts = Facts::default();
        let session = domain::session::SessionFacts {
            paid_at: domain::lattice::Earliest::of(at(9)),
            completed: true,
            details: Latest::said(at(9), "evt_cs_1", details(amount, None)),
            ..Default::default()
        };
        facts.sessions.insert("cs_1".to_owned(), session);
        Input::Event(EventFacts { scope: scope(), facts, decides: true })
    };
    let by_session =
        one_end("its session", &[Input::Booking("1", stay("2026-12-01", "2026-12-05", Some("cs_1"))), session(400)]);
    assert_eq!(by_session.bookings()["1"].booking.status, BookingStatus::Confirmed);
}

#[test]
fn money_for_a_payment_and_its_booking_is_enough_for_both() {
    let cases = [
        ("enough for both", 500, 500, true),
        ("less than the booking's", 100, 100, false),
        ("less than the payment's", 600, 500, false),
    ];
    for (name, asked, paid, accepted) in cases {
        // Both come first: days that were paid for before the payment asked for more stay won.
        let mut end = Ledger::default();
        for input in [
            Input::Payment("p", terms(None, asked)),
            Input::Booking("1", stay("2026-12-01", "2026-12-05", None)), // For 500.
            Input::Event(unasked(pays("pi_1", 6, paid, &[("payment_id", "p"), ("booking_id", "1")]))),
        ] {
            put(&mut end, &input);
        }
        let payment = &end.payments()["p"].payment;
        assert_eq!(payment.hold_reason, (!accepted).then_some(HoldReason::AmountMismatch), "{name}");
        assert_eq!(payment.flags.contains(&Flag::AmountMismatch), !accepted, "{name}");
        let status = if accepted { BookingStatus::Confirmed } else { BookingStatus::Pending };
        assert_eq!(end.bookings()["1"].booking.status, status, "{name}");
    }
}

#[test]
fn neither_an_attempt_nor_a_second_object_switches_the_hold_off() {
    let named = &[("payment_id", "p")][..];
    let session = |amount| {
        let mut metadata = details(amount, None);
        metadata.metadata = [("payment_id".to_owned(), "p".to_owned())].into();
        let session = domain::session::SessionFacts {
            paid_at: domain::lattice::Earliest::of(at(9)),
            completed: true,
            details: Latest::said(at(9), "evt_cs_1", metadata),
            ..Default::default()
        };
        let facts = Facts { sessions: [("cs_1".to_owned(), session)].into(), ..Facts::default() };
        Input::Event(unasked(EventFacts { scope: scope(), facts, decides: true }))
    };
    let attempt = Input::Event(unasked(intent("pi_1", 5, "payment_failed", |intent| {
        let mut said = details(500, None);
        said.metadata = [("payment_id".to_owned(), "p".to_owned())].into();
        intent.details = Latest::said(at(5), "evt_pi_1", said);
    })));
    let end = one_end("an attempt at the whole", &[Input::Payment("p", terms(None, 500)), attempt, session(1)]);
    assert_eq!(end.payments()["p"].payment.hold_reason, Some(HoldReason::AmountMismatch));
    // What is refused beside money that is accepted does not count towards anything.
    let end = one_end(
        "the registered one and another",
        &[
            Input::Order("6735", 600),
            Input::Payment("p", with_gateway_id(terms(Some("6735"), 500), "pi_real")),
            Input::Event(unasked(pays("pi_real", 6, 500, &[]))),
            Input::Event(unasked(pays("pi_cheap", 7, 100, named))),
        ],
    );
    let payment = &end.payments()["p"].payment;
    assert_eq!((payment.status, payment.amount_captured), (PaymentStatus::Paid, minor(500)));
    assert_eq!(end.orders()["6735"].order.as_ref().expect("an order").payment_status, PaymentStatus::Pending);
}

#[test]
fn an_amount_that_nobody_can_read_is_not_enough() {
    let unread = Input::Event(unasked(intent("pi_1", 6, "succeeded", |intent| {
        let mut said = details(0, None);
        said.amount = None;
        said.metadata = [("payment_id".to_owned(), "p".to_owned())].into();
        intent.details = Latest::said(at(6), "evt_pi_1", said);
    })));
    let end = one_end("unread", &[Input::Payment("p", terms(None, 500)), unread]);
    assert_eq!(end.payments()["p"].payment.status, PaymentStatus::Pending);
}

#[test]
fn a_name_that_the_application_gave_goes_before_another_payments_id() {
    let said = |seconds| {
        let ids = domain::external::ExternalIds { payment: Some("1".to_owned()), ..Default::default() };
        Input::Event(unasked(external(ids, seconds, "completed", |_| {})))
    };
    let mut second = terms(None, 300);
    second.external_ids.insert("1".to_owned());
    let mut ledger = Ledger::default();
    for input in [Input::Payment("1", terms(None, 500)), Input::Payment("2", second), said(5)] {
        put(&mut ledger, &input);
    }
    assert_eq!(ledger.payments()["1"].payment.status, PaymentStatus::Pending);
    assert_eq!(ledger.payments()["2"].payment.status, PaymentStatus::Paid);
}

#[test]
fn what_a_generic_senders_metadata_names_is_held_like_any_payers_choice() {
    let ids = domain::external::ExternalIds { payment: Some("unknown".to_owned()), ..Default::default() };
    let event = unasked(external(ids, 5, "completed", |said| {
        let mut stated = details(1, None);
        stated.metadata = [("payment_id".to_owned(), "p".to_owned())].into();
        said.completed.amounts = [crate::said::dollars(1)].into();
        said.completed.details = Latest::said(at(5), "evt_1", stated);
    }));
    let end = one_end("metadata", &[Input::Payment("p", terms(None, 500)), Input::Event(event)]);
    assert_eq!(end.payments()["p"].payment.status, PaymentStatus::Pending);
}

#[test]
fn a_failed_attempt_of_another_sender_leaves_the_orders_payment_free() {
    let said = |payment: &str, seconds, word| {
        let ids = domain::external::ExternalIds {
            payment: Some(payment.to_owned()),
            order: Some("6735".to_owned()),
            ..Default::default()
        };
        Input::Event(unasked(external(ids, seconds, word, |_| {})))
    };
    let mut ledger = Ledger::default();
    let inputs = [
        Input::Order("6735", 500),
        Input::Payment("p", terms(Some("6735"), 500)),
        said("a", 5, "failed"),
        said("b", 6, "completed"),
    ];
    inputs.iter().for_each(|input| put(&mut ledger, input));
    assert_eq!(ledger.payments()["p"].payment.status, PaymentStatus::Paid);
    assert_eq!(ledger.orders()["6735"].order.as_ref().expect("an order").payment_status, PaymentStatus::Paid);
}
