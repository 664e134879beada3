//! Charges (Stripe's Charge; PayPal's capture, sale and authorization): one
//! attempt to move money. <https://docs.stripe.com/api/charges/object>

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::intent::{Details, Failure};
use crate::lattice::{Earliest, Largest, Latest, is_bottom, join_by_field};
use crate::money::Minor;
use crate::{Phase, Timestamp};

/// A failed charge stays failed: another try is another charge. One that
/// succeeded can still fail, when a bank returns the money later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeRank {
    Pending,
    Succeeded,
    Failed,
}

/// Facts about one charge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChargeFacts {
    #[serde(skip_serializing_if = "is_bottom")]
    pub rank: Largest<ChargeRank>,
    /// Succeeded *and* captured: only then is it money.
    #[serde(skip_serializing_if = "is_bottom")]
    pub captured_at: Earliest,
    #[serde(skip_serializing_if = "is_bottom")]
    pub amount_captured: Largest<Minor>,
    /// The largest `amount_refunded` seen. A witness, not the answer: it counts
    /// refunds that fail later, and what a partial capture released.
    #[serde(skip_serializing_if = "is_bottom")]
    pub amount_refunded: Largest<Minor>,
    /// The authorisation lapsed or was released without a capture.
    #[serde(skip_serializing_if = "is_bottom")]
    pub voided: bool,
    #[serde(skip_serializing_if = "is_bottom")]
    pub newest: Largest<(Timestamp, Phase)>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub failure: Latest<Failure>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub intents: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub details: Latest<Details>,
    #[serde(skip_serializing_if = "is_bottom")]
    pub type_disagrees: bool,
}

join_by_field!(ChargeFacts {
    rank,
    captured_at,
    amount_captured,
    amount_refunded,
    voided,
    newest,
    failure,
    intents,
    details,
    type_disagrees,
});

impl ChargeFacts {
    fn amount(&self) -> Option<Minor> {
        self.details.get().and_then(|details| details.amount)
    }

    pub fn failed(&self) -> bool {
        self.rank.get() == Some(ChargeRank::Failed)
    }

    /// The bank took the money back after it had been captured.
    pub fn failed_late(&self) -> bool {
        self.failed() && self.captured_at.is_some()
    }

    /// The newest thing said that is not final. `Failed` is absorbing: a stale
    /// snapshot with a later time does not make a failed charge pending again.
    pub fn newest(&self) -> Option<(Timestamp, Phase)> {
        let failed = self.failed();
        self.newest.get().map(|(at, phase)| (at, if failed { Phase::Failed } else { phase }))
    }

    /// What was collected, zero while it is authorised only, pending or failed.
    pub fn captured(&self) -> Minor {
        if self.captured_at.is_none() || self.failed() {
            return Minor::ZERO;
        }
        // Versions before 2020 have no `amount_captured`: then it is all of it.
        self.amount_captured.get().or_else(|| self.amount()).unwrap_or_default()
    }

    /// What a partial capture, or a release, gave back. Gateways count it in
    /// `amount_refunded`, but the customer never paid it. What a bank took back
    /// later had been captured all the same.
    pub fn released(&self) -> Minor {
        let Some(amount) = self.amount() else { return Minor::ZERO };
        let all_of_it = || if self.captured_at.is_some() { amount } else { Minor::ZERO };
        amount.less(self.amount_captured.get().unwrap_or_else(all_of_it))
    }
}
