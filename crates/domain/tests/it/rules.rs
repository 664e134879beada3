//! SPEC.md's and DOMAIN.md's rules for what facts come to, each in every order.

use domain::lattice::{Earliest, Largest, Latest};
use domain::reader::ReaderStatus;
use domain::{Currency, DisputeStatus, EventFacts, Flag, Ledger, Outcome, Payment, PaymentStatus, Phase};

use crate::last_write_wins::payment;
use crate::orderings::one_end_state;
use crate::said::{
    at, charge, charge_failed, details, dispute, intent, minor, of, reader, refund, session, succeeded, thin,
};

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

fn ch(numbers: [i64; 3]) -> EventFacts {
    charge("ch_1", 10, numbers, |_| {})
}

fn re(id: &str, status: &str, amount: i64) -> EventFacts {
    refund(id, status, amount, of("ch_1"))
}

fn pi(seconds: i64, status: &str) -> EventFacts {
    intent("pi_1", seconds, status, |_| {})
}

fn on_intent(told: &mut domain::charge::ChargeFacts) {
    told.intents.insert("pi_1".to_owned());
}

#[test]
fn refunds_add_up() {
    use Flag::{RefundAmountDisagrees, RefundFailedAndCanceled, RefundMissing, RefundedMoreThanCaptured};
    use PaymentStatus::{Paid, PartiallyRefunded, Refunded};
    let cases = [
        ("a remainder released, not listed", vec![ch([20675, 20300, 375])], Paid, [20300, 0, 0], vec![]),
        (
            "a remainder released, listed as a refund",
            vec![ch([20675, 20300, 375]), re("re_r", "succeeded", 375)],
            Paid,
            [20300, 0, 0],
            vec![],
        ),
        (
            "released, not listed, and 300 refunded",
            vec![ch([20675, 20300, 375]), ch([20675, 20300, 675]), re("re_1", "succeeded", 300)],
            PartiallyRefunded,
            [20300, 300, 0],
            vec![],
        ),
        (
            "released, listed, and 300 refunded",
            vec![ch([20675, 20300, 675]), re("re_r", "succeeded", 375), re("re_1", "succeeded", 300)],
            PartiallyRefunded,
            [20300, 300, 0],
            vec![],
        ),
        (
            "released, listed, and 300 refunded of which the charge does not tell yet",
            vec![ch([20675, 20300, 375]), re("re_r", "succeeded", 375), re("re_1", "succeeded", 300)],
            PartiallyRefunded,
            [20300, 300, 0],
            vec![],
        ),
        (
            "released, listed, one refund failed and was made again",
            vec![
                ch([20675, 20300, 675]),
                re("re_r", "succeeded", 375),
                re("re_1", "failed", 300),
                re("re_2", "succeeded", 300),
            ],
            PartiallyRefunded,
            [20300, 300, 0],
            vec![],
        ),
        (
            "released, and everything that was captured is back",
            vec![ch([1000, 400, 1000]), re("re_1", "succeeded", 400)],
            Refunded,
            [400, 400, 0],
            vec![],
        ),
        (
            "released, and the gateway counts more back than is known",
            vec![ch([1000, 400, 700])],
            PartiallyRefunded,
            [400, 100, 0],
            vec![RefundMissing],
        ),
        (
            "the gateway counts, no refund is known",
            vec![ch([500, 500, 200])],
            PartiallyRefunded,
            [500, 200, 0],
            vec![RefundMissing],
        ),
        (
            "the gateway counts more than is known",
            vec![ch([500, 500, 350]), re("re_1", "succeeded", 200)],
            PartiallyRefunded,
            [500, 350, 0],
            vec![RefundMissing],
        ),
        (
            "a failed refund explains what the gateway counted",
            vec![ch([500, 500, 200]), re("re_1", "failed", 200)],
            Paid,
            [500, 0, 0],
            vec![],
        ),
        ("a refund under way", vec![ch([500, 500, 500]), re("re_1", "pending", 500)], Paid, [500, 0, 500], vec![]),
        (
            "needs the customer's action",
            vec![ch([500, 500, 0]), re("re_1", "requires_action", 100)],
            Paid,
            [500, 0, 100],
            vec![],
        ),
        (
            "pending and canceled",
            vec![ch([500, 500, 100]), re("re_1", "pending", 100), re("re_1", "canceled", 100)],
            Paid,
            [500, 0, 0],
            vec![],
        ),
        (
            "canceled and failed",
            vec![ch([500, 500, 0]), re("re_1", "failed", 100), re("re_1", "canceled", 100)],
            Paid,
            [500, 0, 0],
            vec![RefundFailedAndCanceled],
        ),
        (
            "two amounts of one refund",
            vec![ch([500, 500, 0]), re("re_1", "succeeded", 100), re("re_1", "succeeded", 200)],
            PartiallyRefunded,
            [500, 200, 0],
            vec![RefundAmountDisagrees],
        ),
        (
            "more back than came",
            vec![ch([500, 500, 0]), re("re_1", "succeeded", 400), re("re_2", "succeeded", 400)],
            Refunded,
            [500, 800, 0],
            vec![RefundedMoreThanCaptured],
        ),
    ];
    for (name, events, status, money, flags) in cases {
        assert_holds(Expected { name, events, status, money, flags });
    }
}

#[test]
fn a_refund_without_a_charge_belongs_to_the_one_that_collected() {
    let failed = charge_failed("ch_0", 5, on_intent);
    let paid = charge("ch_1", 10, [500, 500, 200], on_intent);
    let refund = refund("re_1", "succeeded", 200, |refund| refund.intents.extend(["pi_1".to_owned()]));
    let payment = assert_holds(Expected {
        name: "a failed attempt before, the refund names the intent alone",
        events: vec![failed, paid, refund],
        status: PaymentStatus::PartiallyRefunded,
        money: [500, 200, 0],
        flags: vec![],
    });
    assert_eq!(payment.refunds[0].charge_id.as_deref(), Some("ch_1"));
}

#[test]
fn statuses_follow_the_order_of_the_contract() {
    use Flag::{ChargeFailedAfterSuccess, SessionExpiredAndCompleted, SucceededAndCanceled};
    use PaymentStatus::{Authorized, Canceled, Failed, Paid, Pending, Processing, RequiresAction};
    let authorized = || charge("ch_1", 20, [500, 0, 0], on_intent);
    let captured = || charge("ch_1", 20, [500, 500, 0], on_intent);
    let paid_for = |session: &mut domain::session::SessionFacts| {
        session.details = Latest::said(at(30), "evt_s", details(500, None));
    };
    let cases = [
        ("authorized", vec![pi(10, "requires_capture"), authorized()], Authorized, 0, vec![]),
        (
            "a canceled payment is not authorized",
            vec![pi(10, "requires_capture"), authorized(), pi(5, "canceled")],
            Canceled,
            0,
            vec![],
        ),
        (
            "succeeded and canceled",
            vec![succeeded("pi_1", 10), pi(20, "canceled")],
            Paid,
            500,
            vec![SucceededAndCanceled],
        ),
        ("captured and canceled", vec![captured(), pi(30, "canceled")], Paid, 500, vec![SucceededAndCanceled]),
        ("a failed attempt shows", vec![pi(10, "requires_action"), pi(20, "payment_failed")], Failed, 0, vec![]),
        (
            "until a newer observation",
            vec![pi(20, "payment_failed"), pi(21, "requires_payment_method")],
            Pending,
            0,
            vec![],
        ),
        (
            "of the same intent's session",
            vec![
                pi(20, "payment_failed"),
                session("cs_1", 30, "unpaid", |session| {
                    session.intents.insert("pi_1".to_owned());
                }),
            ],
            Processing,
            0,
            vec![],
        ),
        ("a tie: authorized", vec![pi(10, "processing"), pi(10, "requires_capture")], Authorized, 0, vec![]),
        ("a tie: processing", vec![pi(10, "requires_action"), pi(10, "processing")], Processing, 0, vec![]),
        (
            "a tie: requires action",
            vec![pi(10, "payment_failed"), pi(10, "requires_action")],
            RequiresAction,
            0,
            vec![],
        ),
        ("a tie: failed", vec![pi(10, "requires_confirmation"), pi(10, "payment_failed")], Failed, 0, vec![]),
        (
            "a charge that is only authorized is no money",
            vec![charge("ch_1", 5, [500, 0, 0], |_| {})],
            Authorized,
            0,
            vec![],
        ),
        (
            "a bank takes it back, without an intent",
            vec![ch([500, 500, 0]), charge_failed("ch_1", 90, |_| {})],
            Failed,
            0,
            vec![ChargeFailedAfterSuccess],
        ),
        (
            "a bank takes it back: the intent's success is final, and a person has to look",
            vec![succeeded("pi_1", 10), captured(), charge_failed("ch_1", 90, |_| {})],
            Paid,
            500,
            vec![ChargeFailedAfterSuccess],
        ),
        (
            "a stale snapshot revives no failed charge",
            vec![
                charge_failed("ch_1", 10, |_| {}),
                charge_failed("ch_1", 11, |charge| {
                    charge.rank = Largest::of(domain::charge::ChargeRank::Pending);
                    charge.newest = Largest::of((at(11), Phase::Pending));
                }),
            ],
            Failed,
            0,
            vec![],
        ),
        (
            "a lapsed authorisation",
            vec![
                charge("ch_1", 5, [500, 0, 0], |_| {}),
                charge("ch_1", 9, [500, 0, 500], |charge| charge.voided = true),
            ],
            Canceled,
            0,
            vec![],
        ),
        (
            "an expired session",
            vec![session("cs_1", 5, "open", |_| {}), session("cs_1", 9, "expired", |_| {})],
            Canceled,
            0,
            vec![],
        ),
        (
            "expired and paid",
            vec![session("cs_1", 30, "paid", paid_for), session("cs_1", 40, "expired", |_| {})],
            Paid,
            500,
            vec![SessionExpiredAndCompleted, SucceededAndCanceled],
        ),
        (
            "completed, then paid",
            vec![session("cs_1", 5, "unpaid", |_| {}), session("cs_1", 30, "paid", paid_for)],
            Paid,
            500,
            vec![],
        ),
        (
            "a reader's success is no payment",
            vec![pi(10, "requires_capture"), reader("tmr_1", 20, ReaderStatus::Succeeded, "pi_1")],
            Authorized,
            0,
            vec![],
        ),
        (
            "a thin event asks for a fetch",
            vec![pi(10, "processing"), thin("evt_t", 20, "pi_1")],
            Processing,
            0,
            vec![Flag::NotFetched],
        ),
    ];
    for (name, events, status, captured, flags) in cases {
        assert_holds(Expected { name, events, status, money: [captured, 0, 0], flags });
    }
}

#[test]
fn what_was_refunded_of_a_charge_that_failed_late_still_counts() {
    let failed = charge_failed("ch_1", 90, |_| {});
    let payment = assert_holds(Expected {
        name: "200 went back to the customer before the bank took the rest",
        events: vec![ch([500, 500, 200]), failed],
        status: PaymentStatus::PartiallyRefunded,
        money: [0, 200, 0],
        flags: vec![Flag::RefundMissing, Flag::ChargeFailedAfterSuccess],
    });
    assert_eq!(payment.captured_at, None);
}

#[test]
fn success_is_dated_by_its_earliest_time() {
    let payment = payment("captured_at", &[succeeded("pi_1", 40), succeeded("pi_1", 30), pi(10, "processing")]);
    assert_eq!(payment.captured_at, Some(at(30)));
}

#[test]
fn disputes_change_their_own_status_alone() {
    use DisputeStatus::{Lost, Open, Won};
    let dp = |id: &str, status: &str| dispute(id, 50, status, "ch_1", &[("txn_1", -500)]);
    let cases = [
        ("an inquiry", vec![dp("dp_1", "warning_under_review")], Open),
        ("an inquiry that closed", vec![dp("dp_1", "warning_needs_response"), dp("dp_1", "warning_closed")], Won),
        ("an inquiry that escalated", vec![dp("dp_1", "warning_closed"), dp("dp_1", "needs_response")], Open),
        ("accepted", vec![dp("dp_1", "needs_response"), dp("dp_1", "lost")], Lost),
        ("one won, one open", vec![dp("dp_1", "won"), dp("dp_2", "under_review")], Open),
        ("one won, one lost", vec![dp("dp_1", "won"), dp("dp_2", "lost")], Lost),
        ("prevented", vec![dp("dp_1", "prevented")], Won),
    ];
    for (name, disputes, expected) in cases {
        let events = disputes.into_iter().chain([ch([500, 500, 0])]).collect();
        let status = PaymentStatus::Paid;
        let payment = assert_holds(Expected { name, events, status, money: [500, 0, 0], flags: vec![] });
        assert_eq!(payment.dispute_status, expected, "{name}");
    }
    let events = vec![dp("dp_1", "won"), dp("dp_1", "lost"), ch([500, 500, 0])];
    let flags = vec![Flag::DisputeWonAndLost];
    let name = "won and lost";
    let payment = assert_holds(Expected { name, events, status: PaymentStatus::Paid, money: [500, 0, 0], flags });
    assert_eq!(payment.disputes[0].net, -500);
}

#[test]
fn a_refund_before_its_payment_waits_out_of_sight() {
    let early = re("re_1", "succeeded", 500);
    let mut ledger = Ledger::default();
    let Outcome::Applied { payment_id, .. } = ledger.apply(&early) else { panic!("its facts are kept") };
    assert!(!ledger.payments()[&payment_id].payment.visible);
    let paid = payment("early refund", &[early, ch([500, 500, 500])]);
    assert!(paid.visible);
    assert_eq!((paid.status, paid.amount_refunded), (PaymentStatus::Refunded, minor(500)));
}

#[test]
fn what_no_endpoint_may_make_waits() {
    let unasked = |mut told: EventFacts| {
        told.facts.creates = false;
        told
    };
    let mut ledger = Ledger::default();
    assert_eq!(ledger.apply(&unasked(succeeded("pi_1", 10))), Outcome::Waiting);
    let aside = EventFacts { decides: false, ..unasked(reader("tmr_1", 9, ReaderStatus::Failed, "pi_2")) };
    assert_eq!(ledger.apply(&aside), Outcome::Ignored);
    assert!(matches!(ledger.apply(&pi(5, "processing")), Outcome::Applied { .. }), "now it was asked for");
    let payment = payment("asked for", &[unasked(succeeded("pi_1", 10)), pi(5, "processing")]);
    assert!(payment.visible && payment.status == PaymentStatus::Paid);
}

#[test]
fn payments_add_up_to_their_order() {
    let paid = |id: &str, seconds: i64, order: &str| {
        let details = Latest::said(at(seconds), &format!("evt_{id}_{seconds}"), details(500, Some(order)));
        intent(id, seconds, "succeeded", |intent| {
            intent.amount_received = Largest::of(minor(500));
            intent.details = details;
        })
    };
    let events =
        [paid("pi_1", 10, "ord_1"), paid("pi_2", 20, "ord_1"), paid("pi_3", 10, "ord_1"), paid("pi_3", 30, "ord_x")];
    let ledger = one_end_state("two halves of 1000, a third that moves to an order nobody registered", &events);
    let order = |id: &str| ledger.orders()[id].order.clone().expect("it is there");
    assert_eq!(order("ord_1").payment_status, PaymentStatus::Paid);
    assert_eq!(order("ord_1").amount_paid, minor(1000));
    assert_eq!(order("ord_x").payment_status, PaymentStatus::Paid);
}

#[test]
fn another_currency_pays_no_order_and_is_flagged() {
    let euros = intent("pi_1", 10, "succeeded", |intent| {
        let described = details(500, Some("ord_0"));
        let described = domain::intent::Details { currency: Currency::parse("EUR"), ..described };
        intent.amount_received = Largest::of(minor(500));
        intent.details = Latest::said(at(10), "evt_1", described);
    });
    let dollars = refund("re_1", "succeeded", 100, |refund| refund.intents.extend(["pi_1".to_owned()]));
    let ledger = one_end_state("euros for an order in dollars", &[euros, dollars]);
    let order = ledger.orders()["ord_0"].order.clone().expect("it is registered");
    assert_eq!((order.payment_status, order.amount_paid), (PaymentStatus::Pending, minor(0)));
    let payment = &ledger.payments().values().next().expect("one payment").payment;
    assert_eq!(payment.flags, [Flag::CurrencyDisagrees].into());
}

#[test]
fn a_refund_that_was_canceled_and_failed_shows_as_failed() {
    let events = [re("re_1", "failed", 100), re("re_1", "canceled", 100), ch([500, 500, 0])];
    let payment = payment("canceled and failed", &events);
    assert_eq!(payment.refunds[0].status, domain::refund::RefundStatus::Failed);
}

#[test]
fn a_charge_that_failed_late_was_not_captured_after_all() {
    let told = charge_failed("ch_1", 90, |charge| charge.captured_at = Earliest::of(at(10)));
    let payment = payment("one event tells of both", &[told]);
    assert!(payment.flags.contains(&Flag::ChargeFailedAfterSuccess));
    assert_eq!(payment.captured_at, None);
}
