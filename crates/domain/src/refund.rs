//! Refunds, each an object with a life of its own; what was refunded is a sum
//! over them. <https://docs.stripe.com/api/refunds/object>

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::lattice::{Earliest, Largest, Latest, is_bottom, join_by_field};
use crate::money::{Currency, Minor};
use crate::status::text_enum;

text_enum! {
    /// In the order in which a refund moves; the furthest one seen is the state.
    /// One that succeeded can still fail, when the customer's bank returns it.
    RefundStatus {
        Pending = "pending",
        RequiresAction = "requires_action",
        Succeeded = "succeeded",
        Canceled = "canceled",
        Failed = "failed",
    }
}

text_enum! {
    RefundKind {
        /// The merchant gave it back.
        Refund = "refund",
        /// PayPal or a bank took it back.
        Reversal = "reversal",
    }
}

/// Facts about one refund.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefundFacts {
    #[serde(skip_serializing_if = "is_bottom")]
    pub seen: BTreeSet<RefundStatus>,
    /// Immutable at the gateway, so more than one is a contradiction.
    #[serde(skip_serializing_if = "is_bottom")]
    pub amounts: BTreeSet<Minor>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub currencies: BTreeSet<Currency>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub charges: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub intents: BTreeSet<String>,
    /// PayPal's captures and sales.
    #[serde(skip_serializing_if = "is_bottom")]
    pub captures: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub reversed: bool,
    /// What PayPal counted as refunded of the capture when it told of this refund. A
    /// witness, not the answer.
    #[serde(skip_serializing_if = "is_bottom")]
    pub total_refunded: Largest<Minor>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub created_at: Earliest,
    #[serde(skip_serializing_if = "is_bottom")]
    pub reason: Latest<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub failure_reason: Latest<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub type_disagrees: bool,
}

join_by_field!(RefundFacts {
    seen,
    amounts,
    currencies,
    charges,
    intents,
    captures,
    reversed,
    total_refunded,
    created_at,
    reason,
    failure_reason,
    type_disagrees,
});

/// A refund as the merchant sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refund {
    pub id: String,
    pub gateway_refund_id: String,
    /// The charge or capture that it gives back.
    pub charge_id: Option<String>,
    pub kind: RefundKind,
    pub status: RefundStatus,
    pub amount: Minor,
    pub currency: Option<Currency>,
    pub reason: Option<String>,
    pub failure_reason: Option<String>,
    #[serde(serialize_with = "crate::time::rfc3339")]
    pub created_at: Option<Timestamp>,
}

impl RefundFacts {
    /// `Pending` before any status was seen.
    pub fn status(&self) -> RefundStatus {
        self.seen.last().copied().unwrap_or(RefundStatus::Pending)
    }

    pub fn kind(&self) -> RefundKind {
        if self.reversed { RefundKind::Reversal } else { RefundKind::Refund }
    }

    pub fn in_flight(&self) -> bool {
        self.status() <= RefundStatus::RequiresAction
    }

    /// Of contradicting amounts the largest: better to miss income than to invent it.
    pub fn amount(&self) -> Minor {
        self.amounts.last().copied().unwrap_or_default()
    }

    /// Failed and canceled exclude one another.
    pub fn contradicts_itself(&self) -> bool {
        self.seen.contains(&RefundStatus::Failed) && self.seen.contains(&RefundStatus::Canceled)
    }
}
