//! Captures, and the first API's sales. <https://developer.paypal.com/docs/api/payments/v2/>

use domain::Facts;
use domain::lattice::{Earliest, Join, Largest};
use domain::paypal::{CaptureFacts, CaptureStatus};

use super::details::{details, failure, own_names};
use super::links::parents;
use super::{Resource, Said};

/// Returns the capture's id. `order_id` is the order that shows it.
pub(super) fn state(
    resource: &Resource<'_>,
    said: &Said<'_>,
    order_id: Option<&str>,
    facts: &mut Facts,
) -> Option<String> {
    let id = resource.id.id()?;
    let status = resource.status_word();
    let rank = match status.as_deref() {
        Some("PENDING") => Some(CaptureStatus::Pending),
        Some("COMPLETED") => Some(CaptureStatus::Completed),
        Some("PARTIALLY_REFUNDED") => Some(CaptureStatus::PartiallyRefunded),
        // What PayPal or a bank took back is back; the reversal says that it was one.
        Some("REFUNDED" | "REVERSED") => Some(CaptureStatus::Refunded),
        _ => None,
    };
    let declined = matches!(status.as_deref(), Some("DECLINED" | "DENIED" | "FAILED"));
    let completed = rank >= Some(CaptureStatus::Completed);
    let parents = parents(resource);
    let failure = if declined { failure(resource) } else { None };
    facts.captures.entry(id.clone()).or_default().join(CaptureFacts {
        rank: rank.into(),
        declined,
        completed_at: if completed { Earliest::of(said.at) } else { Earliest::default() },
        confirmed: false, // A webhook confirms nothing; `resource_facts` does.
        said_at: Largest::of(said.at),
        failure: failure.map(|failure| said.latest(failure)).unwrap_or_default(),
        orders: order_id.map(|id| [id.to_owned()].into()).unwrap_or(parents.orders),
        authorizations: parents.authorizations,
        details: details(resource).map(|details| said.latest(details)).unwrap_or_default(),
        named: own_names(resource, said),
        type_disagrees: type_disagrees(said.event_type, completed, declined),
    });
    Some(id)
}

/// An event that was sent late shows what became of the capture since, so only what
/// excludes one another disagrees.
fn type_disagrees(event_type: &str, completed: bool, declined: bool) -> bool {
    match event_type {
        "PAYMENT.CAPTURE.COMPLETED" | "PAYMENT.SALE.COMPLETED" => !completed,
        "PAYMENT.CAPTURE.DENIED" | "PAYMENT.CAPTURE.DECLINED" | "PAYMENT.SALE.DENIED" => !declined,
        _ => false,
    }
}
