//! Checkout sessions: hosted payment pages.
//! <https://docs.stripe.com/api/checkout/sessions/object>

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::intent::Details;
use crate::lattice::{Earliest, Largest, Latest, is_bottom, join_by_field};
use crate::{Phase, Timestamp};

/// Facts about one checkout session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionFacts {
    /// Completed and `payment_status` is `paid` or `no_payment_required`.
    #[serde(skip_serializing_if = "is_bottom")]
    pub paid_at: Earliest,
    /// Completed; the money may still be on its way.
    #[serde(skip_serializing_if = "is_bottom")]
    pub completed: bool,
    #[serde(skip_serializing_if = "is_bottom")]
    pub expired: bool,
    #[serde(skip_serializing_if = "is_bottom")]
    pub newest: Largest<(Timestamp, Phase)>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub intents: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub details: Latest<Details>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub type_disagrees: bool,
}

join_by_field!(SessionFacts { paid_at, completed, expired, newest, intents, details, type_disagrees });
