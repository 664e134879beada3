//! Disputes: inquiries and chargebacks. They never change whether a payment was
//! paid. <https://docs.stripe.com/disputes/how-disputes-work>

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::lattice::{Earliest, Largest, Latest, is_bottom, join_by_field};
use crate::money::{Currency, Minor};
use crate::status::text_enum;
use crate::{DisputeStatus, Timestamp};

text_enum! {
    /// In the order in which a dispute moves; the furthest one seen is the state,
    /// so that a stale snapshot reopens nothing.
    DisputeStage {
        WarningNeedsResponse = "warning_needs_response",
        WarningUnderReview = "warning_under_review",
        WarningClosed = "warning_closed",
        NeedsResponse = "needs_response",
        UnderReview = "under_review",
        Prevented = "prevented",
        /// Before 2020: the merchant refunded instead of answering.
        ChargeRefunded = "charge_refunded",
        Won = "won",
        Lost = "lost",
    }
}

impl DisputeStage {
    /// An inquiry that closed, and what was prevented or refunded, took no money:
    /// they read as `won`.
    pub const fn outcome(self) -> DisputeStatus {
        match self {
            Self::WarningNeedsResponse | Self::WarningUnderReview | Self::NeedsResponse | Self::UnderReview => {
                DisputeStatus::Open
            }
            Self::WarningClosed | Self::Prevented | Self::ChargeRefunded | Self::Won => DisputeStatus::Won,
            Self::Lost => DisputeStatus::Lost,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct DisputeDetails {
    /// May exceed the charge, and be in another currency.
    pub amount: Option<Minor>,
    pub currency: Option<Currency>,
    pub reason: Option<String>,
    /// Until when evidence is taken.
    pub due_by: Option<Timestamp>,
}

/// Facts about one dispute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DisputeFacts {
    #[serde(skip_serializing_if = "is_bottom")]
    pub seen: BTreeSet<DisputeStage>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub details: Latest<DisputeDetails>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub charges: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub intents: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub created_at: Earliest,
    /// Net of each balance transaction, signed: what the dispute took and gave
    /// back, whatever its status says.
    #[serde(skip_serializing_if = "is_bottom")]
    pub transactions: BTreeMap<String, Largest<i64>>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub type_disagrees: bool,
}

join_by_field!(DisputeFacts { seen, details, charges, intents, created_at, transactions, type_disagrees });

/// A dispute as the merchant sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dispute {
    pub id: String,
    pub gateway_dispute_id: String,
    pub charge_id: Option<String>,
    /// `none` where no known status was seen.
    pub status: DisputeStatus,
    /// The gateway's own word.
    pub stage: Option<DisputeStage>,
    pub amount: Option<Minor>,
    pub currency: Option<Currency>,
    pub reason: Option<String>,
    #[serde(serialize_with = "crate::time::rfc3339")]
    pub due_by: Option<Timestamp>,
    /// What the merchant's balance lost (negative) or kept by it so far.
    pub net: i64,
    #[serde(serialize_with = "crate::time::rfc3339")]
    pub created_at: Option<Timestamp>,
}

impl DisputeFacts {
    pub fn stage(&self) -> Option<DisputeStage> {
        self.seen.last().copied()
    }

    pub fn status(&self) -> DisputeStatus {
        self.stage().map_or(DisputeStatus::None, DisputeStage::outcome)
    }

    pub fn net(&self) -> i64 {
        self.transactions.values().filter_map(Largest::get).fold(0, i64::saturating_add)
    }

    /// Won and lost are both final.
    pub fn contradicts_itself(&self) -> bool {
        self.seen.contains(&DisputeStage::Won) && self.seen.contains(&DisputeStage::Lost)
    }
}
