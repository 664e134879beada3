//! Disputes. <https://developer.paypal.com/docs/api/customer-disputes/v1/>

use domain::Facts;
use domain::dispute::{Case, CaseOutcome, CaseStage, CaseStatus, DisputeDetails, DisputeFacts};
use domain::lattice::{Earliest, Join, Largest};

use super::details::word;
use super::{Resource, Said, instant};
use crate::json::{Raw, tolerant};
use crate::paypal::amount::money;

tolerant! { Transaction { seller_transaction_id: Raw<'de> = "seller_transaction_id" } }
tolerant! { Outcome { outcome_code: Raw<'de> = "outcome_code" } }

/// Returns the dispute's id. Of several transactions only the first is taken for what
/// is disputed: one dispute over two payments does not make them one.
pub(super) fn state(resource: &Resource<'_>, said: &Said<'_>, facts: &mut Facts) -> Option<String> {
    let id = resource.dispute_id.id().or_else(|| resource.id.id())?;
    let transactions = resource.disputed_transactions.items();
    let capture = transactions.first().and_then(|first| first.read::<Transaction<'_>>().seller_transaction_id.id());
    let status = resource.status_word();
    let outcome = resource.dispute_outcome.read::<Outcome<'_>>().outcome_code.text();
    let case = Case {
        stage: resource.dispute_life_cycle_stage.text().and_then(|stage| CaseStage::parse(&stage)),
        updated_at: said.at,
        status: status.and_then(|status| CaseStatus::parse(&status)).unwrap_or(CaseStatus::Other),
        outcome: outcome.and_then(|outcome| CaseOutcome::parse(&outcome)),
    };
    let amount = money(resource.dispute_amount);
    let details = DisputeDetails {
        amount: amount.map(|money| money.amount),
        currency: amount.map(|money| money.currency),
        reason: word(resource.reason),
        due_by: instant(resource.seller_response_due_date),
    };
    facts.disputes.entry(id.clone()).or_default().join(DisputeFacts {
        case: Largest::of(case),
        details: said.latest(details),
        captures: capture.into_iter().collect(),
        created_at: instant(resource.create_time).map(Earliest::of).unwrap_or_default(),
        ..DisputeFacts::default()
    });
    Some(id)
}
