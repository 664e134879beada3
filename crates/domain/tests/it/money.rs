//! Money is never negative and never wraps, and a view says nothing impossible.

use domain::{Flag, PaymentStatus};
use proptest::prelude::*;

use crate::lives::long;
use crate::orderings::{apply_all, one_end_state};
use crate::permutations::cases;
use crate::said::{charge, dispute, minor, of, refund};

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn views_say_nothing_impossible(events in long()) {
        let ledger = apply_all(&events);
        for entry in ledger.payments().values() {
            let payment = &entry.payment;
            for amount in [payment.amount_captured, payment.amount_refunded, payment.amount_refunding] {
                prop_assert!(amount.units() >= 0);
            }
            let refunded = payment.amount_refunded;
            let witnesses = entry.facts.charges.values().filter_map(|charge| charge.amount_refunded.get());
            let refunds = payment.refunds.iter().map(|refund| refund.amount);
            prop_assert!(refunded <= witnesses.chain(refunds).sum(), "no more back than anybody spoke of");
            let flagged = payment.flags.contains(&Flag::RefundedMoreThanCaptured);
            prop_assert_eq!(flagged, payment.amount_captured > minor(0) && refunded > payment.amount_captured);
            prop_assert_eq!(payment.needs_fetch(), !payment.flags.is_empty());
            match payment.status {
                PaymentStatus::Refunded => prop_assert!(refunded > minor(0) && refunded >= payment.amount_captured),
                PaymentStatus::PartiallyRefunded => prop_assert!(refunded > minor(0)),
                PaymentStatus::Paid => prop_assert!(payment.captured_at.is_some() && refunded == minor(0)),
                PaymentStatus::Canceled => prop_assert!(payment.captured_at.is_none() && refunded == minor(0)),
                PaymentStatus::Pending => prop_assert!(payment.captured_at.is_none()),
                PaymentStatus::RequiresAction
                | PaymentStatus::Processing
                | PaymentStatus::Authorized
                | PaymentStatus::Failed => {
                    prop_assert!(payment.captured_at.is_none());
                    prop_assert_eq!(payment.newest.map(|(_, phase)| phase.into()), Some(payment.status));
                }
            }
        }
        for (id, entry) in ledger.orders() {
            let Some(order) = &entry.order else { continue };
            let of_order = ledger.payments().values().map(|entry| &entry.payment);
            let of_order = || of_order.clone().filter(|p| p.visible && p.order_id.as_ref() == Some(id));
            prop_assert!(order.amount_paid <= of_order().map(|p| p.amount_captured).sum());
            prop_assert!(order.amount_refunded <= of_order().map(|p| p.amount_refunded).sum());
        }
    }
}

#[test]
fn sums_near_the_largest_integer_saturate() {
    const MOST: i64 = i64::MAX;
    let events = [
        charge("ch_1", 1, [MOST, MOST, MOST], |charge| charge.intents.extend(["pi_1".to_owned()])),
        charge("ch_2", 2, [MOST, MOST, 0], |charge| charge.intents.extend(["pi_1".to_owned()])),
        refund("re_1", "succeeded", MOST, of("ch_1")),
        refund("re_2", "succeeded", MOST, of("ch_2")),
        dispute("dp_1", 3, "lost", "ch_1", &[("txn_1", i64::MIN), ("txn_2", i64::MIN)]),
    ];
    let ledger = one_end_state("saturating", &events);
    let payment = &ledger.payments().values().next().expect("one payment").payment;
    assert_eq!(payment.amount_captured, minor(MOST));
    assert_eq!(payment.amount_refunded, minor(MOST));
    assert_eq!(payment.status, PaymentStatus::Refunded);
    assert_eq!(payment.disputes[0].net, i64::MIN);
}
