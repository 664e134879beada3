//! Authorizations. <https://developer.paypal.com/docs/api/payments/v2/#authorizations_get>

use domain::Facts;
use domain::lattice::{Join, Largest};
use domain::paypal::{AuthorizationFacts, AuthorizationStatus};

use super::details::{details, failure, own_names};
use super::links::parents;
use super::{Resource, Said};

/// Returns the authorization's id. `order_id` is the order that shows it.
pub(super) fn state(
    resource: &Resource<'_>,
    said: &Said<'_>,
    order_id: Option<&str>,
    facts: &mut Facts,
) -> Option<String> {
    let id = resource.id.id()?;
    let status = resource.status_word();
    let rank = match status.as_deref() {
        Some("PENDING") => Some(AuthorizationStatus::Pending),
        // The first API's word is the second.
        Some("CREATED" | "AUTHORIZED") => Some(AuthorizationStatus::Created),
        Some("PARTIALLY_CAPTURED") => Some(AuthorizationStatus::PartiallyCaptured),
        Some("CAPTURED") => Some(AuthorizationStatus::Captured),
        _ => None,
    };
    let denied = matches!(status.as_deref(), Some("DENIED"));
    let voided = matches!(status.as_deref(), Some("VOIDED" | "EXPIRED"));
    let failure = if denied { failure(resource) } else { None };
    facts.authorizations.entry(id.clone()).or_default().join(AuthorizationFacts {
        rank: rank.into(),
        denied,
        voided,
        said_at: Largest::of(said.at),
        failure: failure.map(|failure| said.latest(failure)).unwrap_or_default(),
        orders: order_id.map(|id| [id.to_owned()].into()).unwrap_or(parents(resource).orders),
        details: details(resource).map(|details| said.latest(details)).unwrap_or_default(),
        named: own_names(resource, said),
        type_disagrees: said.event_type == "PAYMENT.AUTHORIZATION.VOIDED" && !voided,
    });
    Some(id)
}
