//! DOMAIN.md's rules for PayPal, each in every order and with every event twice; and
//! anything that PayPal's objects could say, in any order.

use domain::dispute::{Case, CaseOutcome, CaseStage, CaseStatus, DisputeFacts};
use domain::intent::Details;
use domain::lattice::{Earliest, Largest, Latest};
use domain::paypal::{
    AuthorizationFacts, AuthorizationStatus, CaptureFacts, CaptureStatus, OrderStatus, PaypalOrderFacts,
};
use domain::refund::{RefundFacts, RefundKind, RefundStatus};
use domain::{DisputeStatus, EventFacts, Facts, Flag, ObjectKind, Payment, PaymentStatus, Scope};
use proptest::prelude::*;
use proptest::sample::select;

use crate::last_write_wins::payment;
use crate::lives::shuffled;
use crate::orderings::{apply_all, assert_same, one_end_state};
use crate::permutations::cases;
use crate::said::{at, details, event, minor, scope};

fn said(facts: Facts) -> EventFacts {
    EventFacts { scope: Scope { gateway: "paypal".to_owned(), ..scope() }, ..event(facts) }
}

fn described(id: &str, seconds: i64, amount: i64) -> Latest<Details> {
    Latest::said(at(seconds), &format!("WH-{id}-{seconds}"), details(amount, None))
}

/// An order of 1000 cents.
fn order(id: &str, seconds: i64, status: &str, edit: impl FnOnce(&mut PaypalOrderFacts)) -> EventFacts {
    let mut order = PaypalOrderFacts {
        rank: OrderStatus::parse(status).into(),
        voided: status == "voided",
        said_at: Largest::of(at(seconds)),
        details: described(id, seconds, 1000),
        ..PaypalOrderFacts::default()
    };
    assert!(!order.rank.is_none() || order.voided, "{status:?} is no status of an order");
    edit(&mut order);
    said(Facts { paypal_orders: [(id.to_owned(), order)].into(), ..Facts::default() })
}

fn capture(id: &str, seconds: i64, status: &str, amount: i64, edit: impl FnOnce(&mut CaptureFacts)) -> EventFacts {
    let rank = CaptureStatus::parse(status);
    let mut capture = CaptureFacts {
        confirmed: true, // As if PayPal had been asked: webhooks alone are flagged, which is a test of its own.
        rank: rank.into(),
        declined: status == "declined",
        completed_at: rank
            .filter(|rank| *rank >= CaptureStatus::Completed)
            .map(|_| Earliest::of(at(seconds)))
            .unwrap_or_default(),
        said_at: Largest::of(at(seconds)),
        details: described(id, seconds, amount),
        ..CaptureFacts::default()
    };
    assert!(rank.is_some() || capture.declined, "{status:?} is no status of a capture");
    edit(&mut capture);
    said(Facts { captures: [(id.to_owned(), capture)].into(), ..Facts::default() })
}

fn of_order(id: &str) -> impl FnOnce(&mut CaptureFacts) {
    move |capture| capture.orders.extend([id.to_owned()])
}

fn authorization(id: &str, seconds: i64, status: &str, edit: impl FnOnce(&mut AuthorizationFacts)) -> EventFacts {
    let mut held = AuthorizationFacts {
        rank: AuthorizationStatus::parse(status).into(),
        denied: status == "denied",
        voided: status == "voided",
        said_at: Largest::of(at(seconds)),
        details: described(id, seconds, 1000),
        ..AuthorizationFacts::default()
    };
    assert!(!held.rank.is_none() || held.denied || held.voided, "{status:?} is no status of an authorization");
    edit(&mut held);
    said(Facts { authorizations: [(id.to_owned(), held)].into(), ..Facts::default() })
}

/// A refund of capture `C`; `counted` is what PayPal counts of it by then.
fn refund(
    id: &str,
    status: &str,
    amount: i64,
    counted: Option<i64>,
    edit: impl FnOnce(&mut RefundFacts),
) -> EventFacts {
    let mut refund = RefundFacts {
        seen: [RefundStatus::parse(status).expect("a refund's status")].into(),
        amounts: [minor(amount)].into(),
        captures: ["C".to_owned()].into(),
        total_refunded: Largest::from(counted.map(minor)),
        ..RefundFacts::default()
    };
    edit(&mut refund);
    said(Facts { refunds: [(id.to_owned(), refund)].into(), ..Facts::default() })
}

fn dispute(id: &str, seconds: i64, stage: CaseStage, status: CaseStatus, outcome: Option<CaseOutcome>) -> EventFacts {
    let dispute = DisputeFacts {
        case: Largest::of(Case { stage: Some(stage), updated_at: at(seconds), status, outcome }),
        captures: ["C".to_owned()].into(),
        ..DisputeFacts::default()
    };
    said(Facts { disputes: [(id.to_owned(), dispute)].into(), ..Facts::default() })
}

struct Expected {
    name: &'static str,
    events: Vec<EventFacts>,
    status: PaymentStatus,
    /// Captured, refunded, on its way back.
    money: [i64; 3],
    flags: Vec<Flag>,
}

#[track_caller]
fn assert_holds(Expected { name, events, status, money, flags }: Expected) -> Payment {
    let payment = payment(name, &events);
    let amounts = [payment.amount_captured, payment.amount_refunded, payment.amount_refunding];
    assert_eq!((payment.status, amounts), (status, money.map(minor)), "{name}");
    assert_eq!(payment.flags, flags.into_iter().collect(), "{name}");
    payment
}

#[test]
fn only_a_completed_capture_is_money() {
    use PaymentStatus::{Authorized, Failed, Paid, Pending, Processing, RequiresAction};
    let o = |seconds, status| order("O", seconds, status, |_| {});
    let c = |seconds, status| capture("C", seconds, status, 1000, of_order("O"));
    let cases = [
        ("an order is created", vec![o(1, "created")], Pending, 0),
        ("the buyer has to act", vec![o(1, "created"), o(2, "payer_action_required")], RequiresAction, 0),
        ("the buyer approved, which is no payment", vec![o(1, "created"), o(2, "approved")], Processing, 0),
        ("an order is complete while its capture is pending", vec![o(3, "completed"), c(3, "pending")], Processing, 0),
        ("an order is complete, and its capture not known", vec![o(3, "completed")], Processing, 0),
        ("the pending capture completes", vec![o(3, "completed"), c(3, "pending"), c(4, "completed")], Paid, 1000),
        ("the pending capture is denied", vec![o(3, "completed"), c(3, "pending"), c(4, "declined")], Failed, 0),
        ("denied in the second of the order's completion", vec![o(3, "completed"), c(3, "declined")], Failed, 0),
        ("approved again after a decline", vec![c(3, "declined"), o(4, "approved")], Processing, 0),
        ("the word of a stale order changes nothing", vec![c(4, "completed"), o(5, "approved")], Paid, 1000),
        ("a capture alone", vec![c(4, "completed")], Paid, 1000),
    ];
    for (name, events, status, captured) in cases {
        let paid = assert_holds(Expected { name, events, status, money: [captured, 0, 0], flags: vec![] });
        assert_eq!(paid.amount, Some(minor(1000)), "{name}");
        assert_eq!(paid.captured_at.is_some(), captured > 0, "{name}");
        assert_eq!(paid.gateway_transaction_id.as_deref(), Some("O"), "{name}");
        assert_eq!(paid.failed_attempts, usize::from(name.contains("den") || name.contains("decline")), "{name}");
    }
    let held = vec![authorization("A", 1, "pending", |_| {}), authorization("A", 2, "created", |_| {})];
    assert_holds(Expected { name: "held", events: held, status: Authorized, money: [0, 0, 0], flags: vec![] });
}

#[test]
fn an_approved_order_may_show_captures_that_are_complete() {
    // Rendered when it was sent, long after the buyer approved.
    let mut event = order("O", 2, "approved", |order| order.captures.extend(["C".to_owned()]));
    event.facts.captures = capture("C", 2, "completed", 1000, of_order("O")).facts.captures;
    let paid = PaymentStatus::Paid;
    assert_holds(Expected { name: "approved", events: vec![event], status: paid, money: [1000, 0, 0], flags: vec![] });
}

#[test]
fn completed_and_declined_exclude_one_another() {
    let events = vec![capture("C", 1, "completed", 1000, |_| {}), capture("C", 2, "declined", 1000, |_| {})];
    let flags = vec![Flag::CaptureCompletedAndDeclined];
    let money = [1000, 0, 0];
    let flagged = assert_holds(Expected { name: "both", events, status: PaymentStatus::Paid, money, flags });
    assert!(flagged.needs_fetch());
}

#[test]
fn authorizations_are_held_captured_released() {
    use PaymentStatus::{Authorized, Canceled, Failed, Paid, Processing};
    let a = |seconds, status| authorization("A", seconds, status, |held| held.orders.extend(["O".to_owned()]));
    let c = |id, seconds, status, amount| {
        capture(id, seconds, status, amount, |capture| capture.authorizations.extend(["A".to_owned()]))
    };
    let o = || order("O", 1, "completed", |_| {});
    let both = Flag::SucceededAndCanceled;
    let cases = [
        ("created after the order", vec![o(), a(1, "created")], Authorized, 0, vec![]),
        ("denied", vec![a(1, "pending"), a(2, "denied")], Failed, 0, vec![]),
        ("voided", vec![o(), a(1, "created"), a(2, "voided")], Canceled, 0, vec![]),
        ("captured, the captures not known", vec![a(1, "created"), a(2, "captured")], Processing, 0, vec![]),
        ("captured, and pending", vec![a(2, "captured"), c("C", 2, "pending", 1000)], Processing, 0, vec![]),
        (
            "two captures",
            vec![a(1, "created"), c("C", 2, "completed", 600), c("D", 3, "completed", 400)],
            Paid,
            1000,
            vec![],
        ),
        ("one of two is declined", vec![c("C", 2, "completed", 600), c("D", 3, "declined", 400)], Paid, 600, vec![]),
        (
            "the rest is released",
            vec![a(2, "partially_captured"), c("C", 2, "completed", 600), a(3, "voided")],
            Paid,
            600,
            vec![],
        ),
        (
            "voided, its capture declined",
            vec![a(1, "created"), c("C", 2, "declined", 600), a(3, "voided")],
            Canceled,
            0,
            vec![],
        ),
        ("captured and voided", vec![a(2, "captured"), a(3, "voided")], Canceled, 0, vec![both]),
    ];
    for (name, events, status, captured, flags) in cases {
        let events: Vec<EventFacts> = events.into_iter().collect();
        let one = assert_holds(Expected { name, events, status, money: [captured, 0, 0], flags });
        let asked = if name == "one of two is declined" { 600 } else { 1000 };
        assert_eq!(one.amount, Some(minor(asked)), "{name}");
    }
}

#[test]
fn a_voided_order_is_canceled_unless_there_is_money() {
    let o = |seconds, status| order("O", seconds, status, |_| {});
    let events = vec![o(1, "approved"), o(2, "voided")];
    let status = PaymentStatus::Canceled;
    assert_holds(Expected { name: "voided", events: events.clone(), status, money: [0, 0, 0], flags: vec![] });
    let events = [events, vec![capture("C", 1, "completed", 1000, of_order("O"))]].concat();
    let (status, flags) = (PaymentStatus::Paid, vec![Flag::SucceededAndCanceled]);
    assert_holds(Expected { name: "both", events, status, money: [1000, 0, 0], flags });
}

#[test]
fn refunds_add_up() {
    use Flag::{RefundMissing, RefundedMoreThanCaptured};
    use PaymentStatus::{Paid, PartiallyRefunded, Refunded};
    let c = |status| capture("C", 1, status, 1000, |_| {});
    let r = |id, status, amount, counted| refund(id, status, amount, counted, |_| {});
    let cases = [
        (
            "a part",
            vec![c("completed"), r("R", "succeeded", 300, Some(300))],
            PartiallyRefunded,
            [1000, 300, 0],
            vec![],
        ),
        (
            "two parts that are all",
            vec![c("completed"), r("R", "succeeded", 300, Some(300)), r("S", "succeeded", 700, Some(1000))],
            Refunded,
            [1000, 1000, 0],
            vec![],
        ),
        ("on its way", vec![c("completed"), r("R", "pending", 300, Some(300))], Paid, [1000, 0, 300], vec![]),
        (
            "it failed in the end",
            vec![
                c("completed"),
                r("R", "pending", 300, None),
                r("R", "succeeded", 300, Some(300)),
                r("R", "failed", 300, None),
            ],
            Paid,
            [1000, 0, 0],
            vec![],
        ),
        (
            "PayPal counts more than is known",
            vec![c("completed"), r("R", "succeeded", 700, Some(1000))],
            PartiallyRefunded,
            [1000, 700, 0],
            vec![RefundMissing],
        ),
        (
            "the capture is refunded, how is not known",
            vec![c("refunded")],
            Refunded,
            [1000, 1000, 0],
            vec![RefundMissing],
        ),
        (
            "a part of it is, how much is not known",
            vec![c("partially_refunded")],
            Paid,
            [1000, 0, 0],
            vec![RefundMissing],
        ),
        (
            "refunded, and known",
            vec![c("refunded"), r("R", "succeeded", 1000, None)],
            Refunded,
            [1000, 1000, 0],
            vec![],
        ),
        (
            "more than there was",
            vec![c("completed"), r("R", "succeeded", 700, None), r("S", "succeeded", 700, None)],
            Refunded,
            [1000, 1400, 0],
            vec![RefundedMoreThanCaptured],
        ),
    ];
    for (name, events, status, money, flags) in cases {
        assert_holds(Expected { name, events, status, money, flags });
    }
}

#[test]
fn a_reversal_is_a_refund_that_somebody_else_made() {
    let reversal = refund("R", "succeeded", 400, None, |refund| refund.reversed = true);
    let events =
        vec![capture("C", 1, "completed", 1000, |_| {}), reversal, refund("S", "succeeded", 100, None, |_| {})];
    let status = PaymentStatus::PartiallyRefunded;
    let back = assert_holds(Expected { name: "reversed", events, status, money: [1000, 500, 0], flags: vec![] });
    let kinds: Vec<_> = back.refunds.iter().map(|refund| (refund.kind, refund.charge_id.as_deref())).collect();
    assert_eq!(kinds, [(RefundKind::Reversal, Some("C")), (RefundKind::Refund, Some("C"))]);
}

#[test]
fn a_refund_may_come_before_everything_else() {
    let alone = payment("alone", &[refund("R", "succeeded", 300, None, |_| {})]);
    assert!(!alone.visible, "nothing says yet that there is a payment");
    let events = [
        refund("R", "succeeded", 300, None, |_| {}),
        capture("C", 2, "completed", 1000, of_order("O")),
        order("O", 1, "approved", |_| {}),
    ];
    let all = payment("with its payment", &events);
    assert!(all.visible);
    assert_eq!((all.status, all.gateway_transaction_id.as_deref()), (PaymentStatus::PartiallyRefunded, Some("O")));
}

#[test]
fn a_dispute_that_is_resolved_can_be_appealed() {
    use CaseOutcome::{Accepted, BuyerFavour, CanceledByBuyer, Denied, SellerFavour, Undecided, WithPayout};
    use CaseStage::{Arbitration, Chargeback, Inquiry};
    use CaseStatus::{Open, Other, Resolved, UnderReview, WaitingForBuyer, WaitingForSeller};
    let cases = [
        ("open", vec![(1, Inquiry, Open, None)], DisputeStatus::Open),
        ("waiting", vec![(1, Inquiry, Open, None), (2, Inquiry, WaitingForSeller, None)], DisputeStatus::Open),
        (
            "the buyer wins",
            vec![(1, Chargeback, Open, None), (2, Chargeback, Resolved, Some(BuyerFavour))],
            DisputeStatus::Lost,
        ),
        ("the claim is accepted", vec![(2, Chargeback, Resolved, Some(Accepted))], DisputeStatus::Lost),
        ("the seller wins", vec![(2, Chargeback, Resolved, Some(SellerFavour))], DisputeStatus::Won),
        ("PayPal pays", vec![(2, Chargeback, Resolved, Some(WithPayout))], DisputeStatus::Won),
        ("the buyer gives up", vec![(2, Inquiry, Resolved, Some(CanceledByBuyer))], DisputeStatus::Won),
        ("PayPal denies it", vec![(2, Chargeback, Resolved, Some(Denied))], DisputeStatus::Won),
        ("no decision", vec![(2, Chargeback, Resolved, Some(Undecided))], DisputeStatus::Open),
        ("nobody says for whom", vec![(2, Chargeback, Resolved, None)], DisputeStatus::Open),
        ("another status", vec![(2, Chargeback, Other, Some(SellerFavour))], DisputeStatus::Won),
        (
            "appealed",
            vec![(2, Chargeback, Resolved, Some(BuyerFavour)), (3, Chargeback, UnderReview, None)],
            DisputeStatus::Open,
        ),
        (
            "appealed, and won",
            vec![
                (2, Chargeback, Resolved, Some(BuyerFavour)),
                (3, Chargeback, UnderReview, None),
                (4, Chargeback, Resolved, Some(SellerFavour)),
            ],
            DisputeStatus::Won,
        ),
        (
            "a further stage counts for more than a later word",
            vec![(9, Inquiry, WaitingForBuyer, None), (5, Arbitration, Resolved, Some(SellerFavour))],
            DisputeStatus::Won,
        ),
        (
            "of one instant the status that is further",
            vec![(2, Chargeback, UnderReview, None), (2, Chargeback, Resolved, Some(SellerFavour))],
            DisputeStatus::Won,
        ),
    ];
    for (name, told, status) in cases {
        let told =
            told.into_iter().map(|(seconds, stage, status, outcome)| dispute("D", seconds, stage, status, outcome));
        let events: Vec<EventFacts> = told.chain([capture("C", 1, "completed", 1000, |_| {})]).collect();
        let disputed = payment(name, &events);
        assert_eq!(disputed.dispute_status, status, "{name}");
        assert_eq!(disputed.status, PaymentStatus::Paid, "{name}");
        assert_eq!(disputed.disputes[0].charge_id.as_deref(), Some("C"), "{name}");
        assert!(disputed.disputes[0].stage.is_some(), "{name}");
    }
}

#[test]
fn what_the_merchant_calls_it_outlives_words_that_leave_it_out() {
    let called = |seconds, id: &str| {
        let metadata = [("custom_id".to_owned(), id.to_owned())].into();
        Latest::said(at(seconds), &format!("WH-{seconds}"), Details { metadata, ..Details::default() })
    };
    let pending = capture("C", 1, "pending", 1000, |capture| capture.named = called(1, "6735"));
    let completed = capture("C", 2, "completed", 1000, |_| {});
    let payment = payment("named", &[pending, completed]);
    assert_eq!(payment.metadata.get("custom_id").map(String::as_str), Some("6735"));
}

#[test]
fn the_order_names_the_payment_before_the_capture_before_the_authorization() {
    let kinds = [ObjectKind::PaypalOrder, ObjectKind::Capture, ObjectKind::Authorization, ObjectKind::Refund];
    assert!(kinds.is_sorted());
    let held = authorization("A", 1, "created", |_| {});
    let captured = capture("C", 2, "completed", 1000, |capture| capture.authorizations.extend(["A".to_owned()]));
    let one = payment("a capture and its authorization", &[held, captured]);
    assert_eq!(one.gateway_transaction_id.as_deref(), Some("C"));
}

/// Anything that PayPal could say, about few enough objects that statements meet.
fn statement() -> impl Strategy<Value = EventFacts> {
    let orders = select(vec!["created", "saved", "payer_action_required", "approved", "completed", "voided"]);
    let captures = select(vec!["pending", "completed", "partially_refunded", "refunded", "declined"]);
    let holds = select(vec!["pending", "created", "partially_captured", "captured", "denied", "voided"]);
    let refunds = select(vec!["pending", "succeeded", "canceled", "failed"]);
    let words = (orders, captures, holds, refunds);
    let case = (select(CaseStage::ALL), select(CaseStatus::ALL), prop::option::of(select(CaseOutcome::ALL)));
    (0..5_usize, 0..2_usize, 0..4_i64, 1..5_i64, words, case, any::<[bool; 4]>()).prop_map(
        |(kind, n, seconds, hundreds, words, (stage, status, outcome), told)| {
            let (o, c, a) = (format!("O{n}"), ["C", "D"][n].to_owned(), format!("A{n}"));
            let amount = hundreds * 100;
            let mut event = match kind {
                0 => order(&o, seconds, words.0, |order| {
                    order.captures.extend(told[0].then_some(c));
                    order.authorizations.extend(told[1].then_some(a));
                    order.type_disagrees = told[2] && told[3];
                }),
                1 => capture(&c, seconds, words.1, amount, |capture| {
                    capture.orders.extend(told[0].then_some(o));
                    capture.authorizations.extend(told[1].then_some(a));
                }),
                2 => authorization(&a, seconds, words.2, |held| held.orders.extend(told[0].then_some(o))),
                3 => refund(&format!("R{n}"), words.3, amount, told[0].then_some(amount * 2), |refund| {
                    refund.reversed = told[1];
                    if told[2] {
                        refund.captures = [c].into();
                    }
                }),
                _ => dispute(&format!("P{n}"), seconds, stage, status, outcome),
            };
            event.facts.creates = told[3] || told[0];
            event
        },
    )
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_order_and_duplication_of_four_statements_ends_in_one_state(events in prop::collection::vec(statement(), 1..=4)) {
        one_end_state("four statements", &events);
    }

    #[test]
    fn many_statements_end_in_one_state_however_they_arrive(
        (events, arriving) in prop::collection::vec(statement(), 1..=30)
            .prop_flat_map(|events| (Just(events.clone()), shuffled(events))),
    ) {
        assert_same("shuffled", &apply_all(&events), &apply_all(&arriving));
    }

    #[test]
    fn facts_are_a_semilattice_and_survive_storage(abc in prop::collection::vec(statement(), 3..=3)) {
        use domain::lattice::Join;
        let joined = |a: &Facts, b: &Facts| {
            let mut both = a.clone();
            both.join(b.clone());
            both
        };
        let [a, b, c] = [&abc[0].facts, &abc[1].facts, &abc[2].facts];
        prop_assert_eq!(joined(a, b), joined(b, a));
        prop_assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)));
        prop_assert_eq!(&joined(a, a), a);
        let all = joined(&joined(a, b), c);
        let text = serde_json::to_string(&all).expect("facts are JSON");
        prop_assert_eq!(serde_json::from_str::<Facts>(&text).expect("what was written is read"), all);
    }
}

#[test]
fn what_only_a_webhook_says_is_not_confirmed() {
    let said = |confirmed| {
        let mut event = capture("C1", 10, "completed", 500, |_| {});
        event.facts.captures.values_mut().for_each(|capture| capture.confirmed = confirmed);
        event
    };
    let flags = |events: &[EventFacts]| {
        let end = one_end_state("confirmed", events);
        let payment = end.payments().values().next().expect("one").payment.clone();
        (payment.status, payment.flags)
    };
    assert_eq!(flags(&[said(false)]), (PaymentStatus::Paid, [Flag::NotConfirmed].into()));
    assert_eq!(flags(&[said(false), said(true)]), (PaymentStatus::Paid, [].into()));
}
