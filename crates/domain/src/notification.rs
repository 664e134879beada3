//! Which stored transitions the merchant's application is told of.

use crate::Change;
use crate::ledger::Subject;
use crate::{DisputeStatus, PaymentStatus};

/// A notification's type, and how often it may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: &'static str,
    /// For an object once, ever; otherwise once a stored transition.
    pub once: bool,
}

impl Change {
    /// `None` where nobody is told.
    pub fn notice(&self) -> Option<Notice> {
        let many = |kind| Some(Notice { kind, once: false });
        let once = |kind| Some(Notice { kind, once: true });
        match self.subject {
            Subject::Payment => match PaymentStatus::parse(self.to)? {
                PaymentStatus::Paid => once("payment.paid"),
                PaymentStatus::Authorized => many("payment.authorized"),
                PaymentStatus::Failed => many("payment.failed"),
                PaymentStatus::Canceled => many("payment.canceled"),
                PaymentStatus::Refunded => many("payment.refunded"),
                PaymentStatus::PartiallyRefunded => many("payment.partially_refunded"),
                PaymentStatus::Pending | PaymentStatus::RequiresAction | PaymentStatus::Processing => None,
            },
            Subject::Order => match PaymentStatus::parse(self.to)? {
                PaymentStatus::Paid => once("order.paid"),
                PaymentStatus::Authorized => many("order.authorized"),
                PaymentStatus::Failed => many("order.failed"),
                PaymentStatus::Canceled => many("order.canceled"),
                PaymentStatus::Refunded => many("order.refunded"),
                PaymentStatus::PartiallyRefunded => many("order.partially_refunded"),
                PaymentStatus::Pending | PaymentStatus::RequiresAction | PaymentStatus::Processing => None,
            },
            Subject::PaymentDispute => match DisputeStatus::parse(self.to)? {
                DisputeStatus::Open => many("dispute.opened"),
                DisputeStatus::Won | DisputeStatus::Lost => many("dispute.closed"),
                DisputeStatus::None => None,
            },
            Subject::Refund => many("refund.updated"),
            Subject::Dispute => None,
            Subject::Booking => match self.to {
                "confirmed" => once("booking.confirmed"),
                "cancelled" => many("booking.cancelled"),
                _ => None,
            },
        }
    }
}
