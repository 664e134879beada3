//! Payment intents (Stripe's PaymentIntent, PayPal's order): one purpose to pay,
//! with as many attempts as it takes. <https://docs.stripe.com/payments/paymentintents/lifecycle>

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::lattice::{Earliest, Largest, Latest, is_bottom, join_by_field};
use crate::money::{Currency, Minor};
use crate::{Phase, Timestamp};

/// What has no version of its own and only describes: the last word counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Minor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// The merchant's order, as `metadata.order_id` or `client_reference_id` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `card`, `card_present`, `sepa_debit`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// Why an attempt failed, in the gateway's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    pub code: Option<String>,
    pub message: Option<String>,
}

/// Facts about one payment intent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IntentFacts {
    /// Absorbing: nothing that comes later takes it back. Refunds and disputes are
    /// objects of their own.
    #[serde(skip_serializing_if = "is_bottom")]
    pub succeeded_at: Earliest,
    #[serde(skip_serializing_if = "is_bottom")]
    pub canceled_at: Earliest,
    /// Shown only while neither of the above is known.
    #[serde(skip_serializing_if = "is_bottom")]
    pub newest: Largest<(Timestamp, Phase)>,
    /// Failed attempts, each by its charge or, without one, by instant and code.
    #[serde(skip_serializing_if = "is_bottom")]
    pub failed_attempts: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub failure: Latest<Failure>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub amount_received: Largest<Minor>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub charges: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub details: Latest<Details>,
    /// An event's type said something final that its object did not.
    #[serde(skip_serializing_if = "is_bottom")]
    pub type_disagrees: bool,
}

join_by_field!(IntentFacts {
    succeeded_at,
    canceled_at,
    newest,
    failed_attempts,
    failure,
    amount_received,
    charges,
    details,
    type_disagrees,
});
