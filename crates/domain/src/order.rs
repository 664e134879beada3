//! An order is what its payments add up to.

use serde::Serialize;

use crate::money::{Currency, Minor, Money};
use crate::{Payment, PaymentStatus, Phase, Timestamp};

/// An order as the merchant sees it: a pure function of what is due and of its
/// payments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    pub payment_status: PaymentStatus,
    pub amount_paid: Minor,
    pub amount_refunded: Minor,
    pub currency: Option<Currency>,
}

/// What an order needs to know of one of its payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderPayment {
    pub status: PaymentStatus,
    pub amount_captured: Minor,
    pub amount_refunded: Minor,
    pub currency: Option<Currency>,
    pub newest: Option<(Timestamp, Phase)>,
}

impl From<&Payment> for OrderPayment {
    fn from(payment: &Payment) -> Self {
        Self {
            status: payment.status,
            amount_captured: payment.amount_captured,
            amount_refunded: payment.amount_refunded,
            currency: payment.captured_currency.or(payment.currency),
            newest: payment.newest,
        }
    }
}

impl Order {
    /// `due` is `None` until the application registers the order: then any paid
    /// payment pays it. Payments in another currency than `due` do not count
    /// towards it.
    pub fn of(due: Option<Money>, payments: &[OrderPayment]) -> Self {
        let currency = due
            .map(|due| due.currency)
            .or_else(|| payments.iter().filter(|p| p.status.is_collected()).find_map(|p| p.currency))
            .or_else(|| payments.iter().find_map(|p| p.currency));
        let counted = || payments.iter().filter(|p| p.currency == currency && p.status.is_collected());
        let paid: Minor = counted().map(|p| p.amount_captured).sum();
        let refunded: Minor = counted().map(|p| p.amount_refunded).sum();
        let everything_back = counted().count() > 0 && counted().all(|p| p.status == PaymentStatus::Refunded);
        let reached = match due {
            Some(due) => counted().count() > 0 && paid >= due.amount,
            None => counted().count() > 0,
        };
        let open = || payments.iter().filter(|p| !p.status.is_collected() && p.status != PaymentStatus::Canceled);
        let payment_status = if everything_back {
            PaymentStatus::Refunded
        } else if refunded > Minor::ZERO {
            PaymentStatus::PartiallyRefunded
        } else if reached {
            PaymentStatus::Paid
        } else if !payments.is_empty() && payments.iter().all(|p| p.status == PaymentStatus::Canceled) {
            PaymentStatus::Canceled
        } else {
            open().filter_map(|p| p.newest).max().map_or(PaymentStatus::Pending, |(_, phase)| phase.into())
        };
        Self { payment_status, amount_paid: paid, amount_refunded: refunded, currency }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn minor(units: i64) -> Minor {
        Minor::new(units).expect("not negative")
    }

    fn payment(status: PaymentStatus, captured: i64, refunded: i64, newest: Option<(i64, Phase)>) -> OrderPayment {
        OrderPayment {
            status,
            amount_captured: minor(captured),
            amount_refunded: minor(refunded),
            currency: Currency::parse("USD"),
            newest: newest.map(|(at, phase)| (Timestamp::from_seconds(at), phase)),
        }
    }

    #[test]
    fn an_order_is_what_its_payments_add_up_to() {
        use PaymentStatus::*;
        let failed = payment(Failed, 0, 0, Some((10, Phase::Failed)));
        let pending = payment(Pending, 0, 0, Some((20, Phase::Pending)));
        let canceled = payment(Canceled, 0, 0, Some((30, Phase::Pending)));
        let half = payment(Paid, 500, 0, None);
        let half_back = payment(PartiallyRefunded, 500, 200, None);
        let all_back = payment(Refunded, 500, 500, None);
        let euros = OrderPayment { currency: Currency::parse("EUR"), ..payment(Paid, 1000, 0, None) };
        let cases: [(&str, Option<i64>, &[OrderPayment], PaymentStatus); 14] = [
            ("nothing yet", Some(1000), &[], Pending),
            ("a failed attempt", Some(1000), &[failed], Failed),
            ("a newer attempt", Some(1000), &[failed, pending], Pending),
            ("half is not all", Some(1000), &[half], Pending),
            ("half, and an attempt failed", Some(1000), &[half, failed], Failed),
            ("two halves", Some(1000), &[half, half], Paid),
            ("paid after a failure", Some(500), &[failed, half], Paid),
            ("unregistered, paid", None, &[half], Paid),
            ("one canceled, one open", Some(500), &[canceled, failed], Failed),
            ("all canceled", Some(500), &[canceled, canceled], Canceled),
            ("part of it back", Some(1000), &[half, half_back], PartiallyRefunded),
            ("one of two back", Some(1000), &[half, all_back], PartiallyRefunded),
            ("all of it back", Some(1000), &[all_back, canceled], Refunded),
            ("another currency pays nothing", Some(1000), &[euros], Pending),
        ];
        for (name, due, payments, expected) in cases {
            let usd = Currency::parse("USD").expect("a code");
            let due = due.map(|units| Money { amount: minor(units), currency: usd });
            assert_eq!(Order::of(due, payments).payment_status, expected, "{name}");
        }
    }
}
