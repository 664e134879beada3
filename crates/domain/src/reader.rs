//! What a card reader reports. Never an authority on whether a payment was made:
//! the payment intent says that. <https://docs.stripe.com/api/terminal/readers/object>

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::lattice::{Latest, is_bottom, join_by_field};
use crate::status::text_enum;

text_enum! {
    ReaderStatus {
        InProgress = "in_progress",
        Succeeded = "succeeded",
        Failed = "failed",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReaderAction {
    pub status: ReaderStatus,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
}

/// Facts about one reader's work on one payment intent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReaderFacts {
    #[serde(skip_serializing_if = "is_bottom")]
    pub action: Latest<ReaderAction>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub intents: BTreeSet<String>,
}

join_by_field!(ReaderFacts { action, intents });
