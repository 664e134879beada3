//! PayPal's objects: orders, captures (and the sales of its first API), and
//! authorizations. Its refunds and disputes are in [`crate::refund`] and
//! [`crate::dispute`]. <https://developer.paypal.com/docs/api/orders/v2/>,
//! <https://developer.paypal.com/docs/api/payments/v2/>

mod view;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::intent::{Details, Failure};
use crate::lattice::{Earliest, Largest, Latest, is_bottom, join_by_field};
use crate::money::Minor;
use crate::status::text_enum;
use crate::{Phase, Timestamp};

text_enum! {
    /// In the order in which an order moves; the furthest one seen is the state.
    OrderStatus {
        Created = "created",
        Saved = "saved",
        /// The buyer has to do something, as a second factor.
        PayerActionRequired = "payer_action_required",
        /// By the buyer; the money still has to be captured.
        Approved = "approved",
        /// Nothing is left to do with it. Whether there is money, its captures say.
        Completed = "completed",
    }
}

/// Facts about one order, or about one payment (`PAY-…`) of the first API, which
/// was its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PaypalOrderFacts {
    #[serde(skip_serializing_if = "is_bottom")]
    pub rank: Largest<OrderStatus>,
    /// Voided, or its approval was taken back.
    #[serde(skip_serializing_if = "is_bottom")]
    pub voided: bool,
    /// When it last said anything.
    #[serde(skip_serializing_if = "is_bottom")]
    pub said_at: Largest<Timestamp>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub captures: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub authorizations: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub details: Latest<Details>,
    /// What the merchant calls it (`custom_id`, `invoice_id`), of the last statement that
    /// says so: PayPal leaves them out of some.
    #[serde(skip_serializing_if = "is_bottom")]
    pub named: Latest<Details>,
    /// An event's type said something final that its object did not.
    #[serde(skip_serializing_if = "is_bottom")]
    pub type_disagrees: bool,
}

join_by_field!(PaypalOrderFacts { rank, voided, said_at, captures, authorizations, details, named, type_disagrees });

impl PaypalOrderFacts {
    /// Whether it was shown, rather than only named as one whose approval is void.
    pub(crate) const fn is_shown(&self) -> bool {
        !(self.rank.is_none() && self.details.is_none())
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        if self.voided {
            return None;
        }
        self.rank.get().map(|rank| match rank {
            OrderStatus::Created | OrderStatus::Saved => Phase::Pending,
            OrderStatus::PayerActionRequired => Phase::RequiresAction,
            OrderStatus::Approved | OrderStatus::Completed => Phase::Processing,
        })
    }
}

text_enum! {
    /// In the order in which a capture moves; the furthest one seen is the state.
    CaptureStatus {
        Pending = "pending",
        Completed = "completed",
        PartiallyRefunded = "partially_refunded",
        Refunded = "refunded",
    }
}

/// Facts about one capture, or one sale of the first API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaptureFacts {
    #[serde(skip_serializing_if = "is_bottom")]
    pub rank: Largest<CaptureStatus>,
    /// Declined, denied or failed: as final as completed, so that both are a
    /// contradiction.
    #[serde(skip_serializing_if = "is_bottom")]
    pub declined: bool,
    /// Completed, whatever became of it: only then is it money.
    #[serde(skip_serializing_if = "is_bottom")]
    pub completed_at: Earliest,
    /// It was fetched from PayPal, completed: the signature of a webhook binds no more
    /// than a checksum of its body.
    #[serde(skip_serializing_if = "is_bottom")]
    pub confirmed: bool,
    /// When it last said anything.
    #[serde(skip_serializing_if = "is_bottom")]
    pub said_at: Largest<Timestamp>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub failure: Latest<Failure>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub orders: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub authorizations: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub details: Latest<Details>,
    /// What the merchant calls it (`custom_id`, `invoice_id`), of the last statement that
    /// says so: PayPal leaves them out of some.
    #[serde(skip_serializing_if = "is_bottom")]
    pub named: Latest<Details>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub type_disagrees: bool,
}

join_by_field!(CaptureFacts {
    rank,
    declined,
    completed_at,
    confirmed,
    said_at,
    failure,
    orders,
    authorizations,
    details,
    named,
    type_disagrees,
});

impl CaptureFacts {
    /// What was captured, zero unless it was completed.
    pub fn captured(&self) -> Minor {
        if self.completed_at.is_some() { self.amount() } else { Minor::ZERO }
    }

    fn amount(&self) -> Minor {
        self.details.get().and_then(|details| details.amount).unwrap_or_default()
    }

    /// Declined, and never completed as far as is known.
    pub fn failed(&self) -> bool {
        self.declined && self.completed_at.is_none()
    }

    /// Both final: PayPal has to be asked. Until then the money counts.
    pub fn contradicts_itself(&self) -> bool {
        self.declined && self.completed_at.is_some()
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        if self.completed_at.is_some() {
            None
        } else if self.declined {
            Some(Phase::Failed)
        } else {
            self.rank.get().map(|_| Phase::Processing)
        }
    }
}

text_enum! {
    /// In the order in which an authorization moves; the furthest one seen is the
    /// state.
    AuthorizationStatus {
        Pending = "pending",
        Created = "created",
        PartiallyCaptured = "partially_captured",
        Captured = "captured",
    }
}

/// Facts about one authorization: money that is held for later captures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizationFacts {
    #[serde(skip_serializing_if = "is_bottom")]
    pub rank: Largest<AuthorizationStatus>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub denied: bool,
    /// Released, or lapsed.
    #[serde(skip_serializing_if = "is_bottom")]
    pub voided: bool,
    /// When it last said anything.
    #[serde(skip_serializing_if = "is_bottom")]
    pub said_at: Largest<Timestamp>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub failure: Latest<Failure>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub orders: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub details: Latest<Details>,
    /// What the merchant calls it (`custom_id`, `invoice_id`), of the last statement that
    /// says so: PayPal leaves them out of some.
    #[serde(skip_serializing_if = "is_bottom")]
    pub named: Latest<Details>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub type_disagrees: bool,
}

join_by_field!(AuthorizationFacts { rank, denied, voided, said_at, failure, orders, details, named, type_disagrees });

impl AuthorizationFacts {
    /// What is left of a partial capture may be released; all of it that was
    /// captured, or denied, cannot be.
    pub fn contradicts_itself(&self) -> bool {
        self.rank.get() == Some(AuthorizationStatus::Captured) && (self.denied || self.voided)
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        if self.voided {
            return None;
        }
        if self.denied {
            return Some(Phase::Failed);
        }
        self.rank.get().map(|rank| match rank {
            AuthorizationStatus::Pending => Phase::Processing,
            AuthorizationStatus::Created | AuthorizationStatus::PartiallyCaptured => Phase::Authorized,
            // Its captures say whether the money is there.
            AuthorizationStatus::Captured => Phase::Processing,
        })
    }
}
