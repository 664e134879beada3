//! The eight cases of DOMAIN.md, "Where last-write-wins is wrong", each in every
//! order and with every event twice.

use domain::{DisputeStatus, EventFacts, Payment, PaymentStatus};

use crate::orderings::one_end_state;
use crate::said::{charge, dispute, intent, minor, of, refund, succeeded};

/// The one payment in which the events end, in whatever order.
#[track_caller]
pub fn payment(name: &str, events: &[EventFacts]) -> Payment {
    let ledger = one_end_state(name, events);
    assert_eq!(ledger.payments().len(), 1, "{name}: one payment");
    ledger.payments().values().next().expect("one payment").payment.clone()
}

#[test]
fn case_1_created_and_succeeded_in_one_second() {
    let created = intent("pi_1", 100, "requires_payment_method", |_| {});
    let payment = payment("case 1", &[created, succeeded("pi_1", 100)]);
    assert_eq!(payment.status, PaymentStatus::Paid);
    assert_eq!(payment.amount_captured, minor(500));
}

#[test]
fn case_2_a_late_failed_attempt_unpays_nothing() {
    let created = intent("pi_1", 100, "requires_payment_method", |_| {});
    let failed = intent("pi_1", 200, "payment_failed", |_| {}); // Later than the success by its own time, too.
    let payment = payment("case 2", &[created, succeeded("pi_1", 150), failed]);
    assert_eq!(payment.status, PaymentStatus::Paid);
    assert_eq!(payment.failed_attempts, 1);
}

#[test]
fn case_3_two_partial_refunds_in_one_second() {
    let counted = |refunded| charge("ch_1", 300, [500, 500, refunded], |_| {});
    let refunds = [refund("re_1", "succeeded", 200, of("ch_1")), refund("re_2", "succeeded", 150, of("ch_1"))];
    let only_counted = payment("case 3, counted", &[counted(200), counted(350)]);
    assert_eq!(only_counted.amount_refunded, minor(350));
    let [first, second] = refunds;
    let told = payment("case 3, told", &[counted(200), counted(350), first, second]);
    assert_eq!(told.amount_refunded, minor(350));
    assert_eq!(told.status, PaymentStatus::PartiallyRefunded);
    assert!(told.flags.is_empty() && !only_counted.flags.is_empty(), "what no refund explains is flagged");
}

#[test]
fn case_4_a_refund_that_fails_after_success_is_no_refund() {
    let payment = payment(
        "case 4",
        &[
            charge("ch_1", 200, [500, 500, 500], |_| {}),
            refund("re_1", "succeeded", 500, of("ch_1")),
            refund("re_1", "failed", 500, of("ch_1")),
        ],
    );
    assert_eq!(payment.amount_refunded, minor(0));
    assert_eq!(payment.status, PaymentStatus::Paid);
    assert!(payment.flags.is_empty());
}

#[test]
fn case_5_a_stale_snapshot_reopens_no_dispute() {
    let gone = ("txn_1", -2500);
    let payment = payment(
        "case 5",
        &[
            dispute("dp_1", 400, "needs_response", "ch_1", &[gone]),
            dispute("dp_1", 900, "won", "ch_1", &[gone]),
            dispute("dp_1", 900, "under_review", "ch_1", &[gone, ("txn_2", 2500)]),
            charge("ch_1", 100, [500, 500, 0], |_| {}),
        ],
    );
    assert_eq!(payment.dispute_status, DisputeStatus::Won);
    assert_eq!(payment.disputes[0].net, 0);
    assert_eq!(payment.status, PaymentStatus::Paid);
}

#[test]
fn case_6_an_events_time_is_no_version_of_its_object() {
    // Two changes at once, snapshot in the other order: the later event shows less.
    let payment = payment(
        "case 6",
        &[
            succeeded("pi_1", 100),
            intent("pi_1", 101, "processing", |_| {}),
            charge("ch_1", 100, [500, 500, 350], |charge| charge.intents.extend(["pi_1".to_owned()])),
            charge("ch_1", 101, [500, 500, 200], |_| {}),
        ],
    );
    assert_eq!((payment.status, payment.amount_refunded), (PaymentStatus::PartiallyRefunded, minor(350)));
}

#[test]
fn case_7_arrival_and_a_retrys_time_decide_nothing() {
    // The retried event is the first one, and arrives last: `EventFacts` has no
    // place for when it came or was signed, and every order is the same.
    let first = intent("pi_1", 100, "payment_failed", |_| {});
    let second = intent("pi_1", 160, "processing", |_| {});
    let payment = payment("case 7", &[second.clone(), first.clone(), second, first]);
    assert_eq!(payment.status, PaymentStatus::Processing);
}

#[test]
fn case_8_states_that_come_back_follow_the_newest() {
    // requires_action → payment_failed → requires_action: the step that
    // `previous_attributes` proves is there twice, so it sorts nothing.
    let payment = payment(
        "case 8",
        &[
            intent("pi_1", 100, "requires_action", |_| {}),
            intent("pi_1", 110, "payment_failed", |_| {}),
            intent("pi_1", 120, "requires_action", |_| {}),
            intent("pi_1", 130, "payment_failed", |_| {}),
        ],
    );
    assert_eq!(payment.status, PaymentStatus::Failed);
    assert_eq!(payment.failed_attempts, 2);
}
