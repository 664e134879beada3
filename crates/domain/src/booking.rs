//! Bookings: a resource and a half-open range of days, held by whoever paid first.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::lattice::{Join, is_bottom};
use crate::money::{Currency, Minor};
use crate::status::text_enum;
use crate::{Payment, PaymentStatus};

text_enum! {
    BookingStatus {
        Pending = "pending",
        Confirmed = "confirmed",
        Cancelled = "cancelled",
    }
}

text_enum! {
    BookingPaymentStatus {
        Pending = "pending",
        Paid = "paid",
        Failed = "failed",
        Refunded = "refunded",
    }
}

text_enum! {
    /// Why a booking is cancelled.
    BookingReason {
        DatesUnavailable = "dates_unavailable",
        PaymentFailed = "payment_failed",
        Requested = "requested",
    }
}

text_enum! {
    /// What becomes of the money of a booking that lost its dates.
    OnConflict {
        Cancel = "cancel",
        Refund = "refund",
    }
}

/// The first day, and the first day after it: a stay that ends on the day on which
/// another begins does not touch it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Days {
    start: String,
    end: String,
}

impl Days {
    /// From `YYYY-MM-DD`; `None` unless both are days and the end is after the start.
    pub fn parse(start: &str, end: &str) -> Option<Self> {
        // Days of four-digit years, written so, sort as text like they do in time.
        let is_day = |text: &str| text.len() == "2026-12-01".len() && text.parse::<jiff::civil::Date>().is_ok();
        (is_day(start) && is_day(end) && start < end).then(|| Self { start: start.to_owned(), end: end.to_owned() })
    }

    pub fn start(&self) -> &str {
        &self.start
    }

    /// The first day that is free again.
    pub fn end(&self) -> &str {
        &self.end
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// What the application registered, as the payments of the booking keep it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BookingTerms {
    pub resource_id: String,
    pub days: Days,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Minor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    pub on_conflict: OnConflict,
    /// Checkout sessions that the application named.
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub session_ids: BTreeSet<String>,
    /// Checkout sessions that payers came back with: they find a payment, and vouch for
    /// nothing.
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub hinted_session_ids: BTreeSet<String>,
    /// An operator accepted it although less was paid.
    #[serde(default, skip_serializing_if = "is_bottom")]
    pub released: bool,
}

impl BookingTerms {
    pub(crate) fn money(&self) -> Option<(Minor, Currency)> {
        self.amount.zip(self.currency)
    }
}

/// What is fixed does not change; sessions are added, and a release stays.
impl Join for BookingTerms {
    fn join(&mut self, other: Self) {
        let Self { resource_id, days, amount, currency, on_conflict, session_ids, hinted_session_ids, released } =
            other;
        let theirs = (resource_id, days, amount, currency, on_conflict);
        let ours = (self.resource_id.clone(), self.days.clone(), self.amount, self.currency, self.on_conflict);
        if theirs > ours {
            (self.resource_id, self.days, self.amount, self.currency, self.on_conflict) = theirs;
        }
        self.session_ids.join(session_ids);
        self.hinted_session_ids.join(hinted_session_ids);
        self.released.join(released);
    }
}

/// What became of a booking's claim to its days. An input: once it is stored no fact
/// revises it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    Won,
    /// To this booking.
    Lost(String),
}

/// Everything that a booking is a function of, its payments apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingInputs {
    pub terms: BookingTerms,
    pub claim: Option<Claim>,
    /// The application or an operator gave it up.
    pub canceled: bool,
}

/// A booking as the merchant sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Booking {
    pub status: BookingStatus,
    pub payment_status: BookingPaymentStatus,
    pub reason: Option<BookingReason>,
}

impl BookingInputs {
    /// Whether its dates are its own.
    pub fn holds_days(&self) -> bool {
        self.claim == Some(Claim::Won) && !self.canceled
    }

    /// Whether it has to claim its days now.
    pub fn is_to_claim(&self, payments: &[&Payment]) -> bool {
        let is_accepted = |payment: &&Payment| payment.status.is_collected() && payment.hold_reason.is_none();
        self.claim.is_none() && !self.canceled && payments.iter().any(is_accepted)
    }

    /// The booking that these inputs and its payments make.
    pub fn booking(&self, payments: &[&Payment]) -> Booking {
        // What is held counts as not collected, whatever became of the money since.
        let is_held = |payment: &Payment| payment.hold_reason.is_some() && payment.status.is_collected();
        let any = |test: &dyn Fn(PaymentStatus) -> bool| {
            payments.iter().any(|payment| test(payment.status) && !is_held(payment))
        };
        let dead = |status| matches!(status, PaymentStatus::Failed | PaymentStatus::Canceled);
        let payment_status = if any(&|s| matches!(s, PaymentStatus::Paid | PaymentStatus::PartiallyRefunded)) {
            BookingPaymentStatus::Paid
        } else if any(&|s| s == PaymentStatus::Refunded) {
            BookingPaymentStatus::Refunded
        } else if !payments.is_empty() && payments.iter().all(|payment| dead(payment.status)) {
            BookingPaymentStatus::Failed
        } else {
            BookingPaymentStatus::Pending
        };
        let (status, reason) = match &self.claim {
            _ if self.canceled => (BookingStatus::Cancelled, Some(BookingReason::Requested)),
            Some(Claim::Won) => (BookingStatus::Confirmed, None),
            Some(Claim::Lost(_)) => (BookingStatus::Cancelled, Some(BookingReason::DatesUnavailable)),
            // Revisable: a later success claims.
            None if payment_status == BookingPaymentStatus::Failed => {
                (BookingStatus::Cancelled, Some(BookingReason::PaymentFailed))
            }
            None => (BookingStatus::Pending, None),
        };
        Booking { status, payment_status, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(start: &str, end: &str) -> Days {
        Days::parse(start, end).expect("days")
    }

    #[test]
    fn ranges_are_half_open() {
        let stay = days("2026-12-01", "2026-12-05");
        let cases = [
            ("2026-12-05", "2026-12-06", false),
            ("2026-11-01", "2026-12-01", false),
            ("2026-12-04", "2026-12-05", true),
            ("2026-11-30", "2026-12-02", true),
            ("2026-12-02", "2026-12-03", true),
            ("2026-11-01", "2027-01-01", true),
        ];
        for (start, end, expected) in cases {
            assert_eq!(stay.overlaps(&days(start, end)), expected, "{start} to {end}");
            assert_eq!(days(start, end).overlaps(&stay), expected, "{start} to {end}");
        }
    }

    #[test]
    fn days_are_days() {
        for (start, end) in [
            ("2026-12-05", "2026-12-05"),
            ("2026-12-06", "2026-12-05"),
            ("2026-02-30", "2026-03-05"),
            ("2026-2-3", "2026-3-5"),
            ("2026-12-01T00:00", "2026-12-05T00:00"),
            ("", "2026-12-05"),
        ] {
            assert_eq!(Days::parse(start, end), None, "{start} to {end}");
        }
    }
}
