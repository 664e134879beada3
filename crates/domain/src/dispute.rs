//! Disputes: inquiries and chargebacks. They never change whether a payment was
//! paid. <https://docs.stripe.com/disputes/how-disputes-work>

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::lattice::{Earliest, Largest, Latest, is_bottom, join_by_field};
use crate::money::{Currency, Minor};
use crate::status::text_enum;
use crate::{DisputeStatus, Timestamp};

text_enum! {
    /// PayPal's stages, in the order in which a case escalates.
    /// <https://developer.paypal.com/docs/api/customer-disputes/v1/>
    CaseStage {
        Inquiry = "INQUIRY",
        Chargeback = "CHARGEBACK",
        PreArbitration = "PRE_ARBITRATION",
        Arbitration = "ARBITRATION",
    }
}

text_enum! {
    /// The order breaks a tie between statements of one instant: the last wins.
    CaseStatus {
        Other = "OTHER",
        Open = "OPEN",
        WaitingForBuyer = "WAITING_FOR_BUYER_RESPONSE",
        WaitingForSeller = "WAITING_FOR_SELLER_RESPONSE",
        UnderReview = "UNDER_REVIEW",
        Resolved = "RESOLVED",
    }
}

text_enum! {
    CaseOutcome {
        /// Closed without a decision.
        Undecided = "NONE",
        CanceledByBuyer = "CANCELED_BY_BUYER",
        /// PayPal turned the claim down.
        Denied = "DENIED",
        /// PayPal pays the buyer, and the seller keeps the money.
        WithPayout = "RESOLVED_WITH_PAYOUT",
        SellerFavour = "RESOLVED_SELLER_FAVOUR",
        /// The claim was accepted.
        Accepted = "ACCEPTED",
        BuyerFavour = "RESOLVED_BUYER_FAVOUR",
    }
}

/// Where a case at PayPal stands. The largest one seen counts: an appeal is later,
/// or a stage further, than the resolution that it takes up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Case {
    pub stage: Option<CaseStage>,
    pub updated_at: Timestamp,
    pub status: CaseStatus,
    pub outcome: Option<CaseOutcome>,
}

impl Case {
    /// Open until it is resolved *and* PayPal said for whom.
    pub fn outcome(&self) -> DisputeStatus {
        match self.outcome {
            _ if !matches!(self.status, CaseStatus::Resolved | CaseStatus::Other) => DisputeStatus::Open,
            None | Some(CaseOutcome::Undecided) => DisputeStatus::Open,
            Some(CaseOutcome::Accepted | CaseOutcome::BuyerFavour) => DisputeStatus::Lost,
            Some(
                CaseOutcome::CanceledByBuyer
                | CaseOutcome::Denied
                | CaseOutcome::WithPayout
                | CaseOutcome::SellerFavour,
            ) => DisputeStatus::Won,
        }
    }
}

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
    /// PayPal's, whose resolutions can be appealed.
    #[serde(skip_serializing_if = "is_bottom")]
    pub case: Largest<Case>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub details: Latest<DisputeDetails>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub charges: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub intents: BTreeSet<String>,
    /// PayPal's captures and sales.
    #[serde(skip_serializing_if = "is_bottom")]
    pub captures: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub created_at: Earliest,
    /// Net of each balance transaction, signed: what the dispute took and gave
    /// back, whatever its status says.
    #[serde(skip_serializing_if = "is_bottom")]
    pub transactions: BTreeMap<String, Largest<i64>>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub type_disagrees: bool,
}

join_by_field!(DisputeFacts {
    seen,
    case,
    details,
    charges,
    intents,
    captures,
    created_at,
    transactions,
    type_disagrees
});

/// A dispute as the merchant sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dispute {
    pub id: String,
    pub gateway_dispute_id: String,
    /// The charge or capture that is disputed.
    pub charge_id: Option<String>,
    /// `none` where no known status was seen.
    pub status: DisputeStatus,
    /// The gateway's own word.
    pub stage: Option<&'static str>,
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

    /// The gateway's own word for where it stands.
    pub fn stage_word(&self) -> Option<&'static str> {
        let of_case = || self.case.get().and_then(|case| case.stage).map(CaseStage::as_str);
        self.stage().map(DisputeStage::as_str).or_else(of_case)
    }

    pub fn status(&self) -> DisputeStatus {
        let of_case = || self.case.get().map_or(DisputeStatus::None, |case| case.outcome());
        self.stage().map_or_else(of_case, DisputeStage::outcome)
    }

    pub fn net(&self) -> i64 {
        self.transactions.values().filter_map(Largest::get).fold(0, i64::saturating_add)
    }

    /// Won and lost are both final.
    pub fn contradicts_itself(&self) -> bool {
        self.seen.contains(&DisputeStage::Won) && self.seen.contains(&DisputeStage::Lost)
    }
}
