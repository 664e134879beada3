//! Thin events: they name an object without showing it.
//! <https://docs.stripe.com/event-destinations#thin-events>

use domain::lattice::Largest;
use domain::thin::ThinFacts;
use domain::{Facts, ObjectKey, ObjectKind, Timestamp};

use super::kind_of_id;
use crate::Statement;
use crate::json::{Raw, tolerant};

tolerant! { Related { id: Raw<'de> = "id", kind: Raw<'de> = "type" } }

/// An object of a kind that concerns no payment (a billing meter, say) is named,
/// but nothing is to be fetched.
pub(super) fn state(related: Raw<'_>, changed_at: Option<Timestamp>) -> Statement {
    let related: Related<'_> = related.read();
    let Some(id) = related.id.id() else { return Statement::default() };
    let stated_kind = related.kind.text();
    let mut facts = Facts::default();
    if let Some(kind) = stated_kind.as_deref().or_else(|| kind_of_id(&id)).and_then(object_kind) {
        let thin = ThinFacts {
            related: [ObjectKey::new(kind, id.as_str())].into(),
            changed_at: changed_at.map(Largest::of).unwrap_or_default(),
        };
        facts.thin.insert(id.clone(), thin);
    }
    Statement { needs_fetch: !facts.thin.is_empty(), facts, object_id: Some(id) }
}

fn object_kind(kind: &str) -> Option<ObjectKind> {
    match kind {
        "payment_intent" => Some(ObjectKind::Intent),
        "charge" => Some(ObjectKind::Charge),
        "refund" => Some(ObjectKind::Refund),
        "dispute" => Some(ObjectKind::Dispute),
        "checkout.session" => Some(ObjectKind::Session),
        _ => None,
    }
}
