//! Which objects an object belongs to: by name, else by the path of a link. Links are
//! read for the ids in them, and never followed.

use std::collections::BTreeSet;

use super::Resource;
use crate::json::{Raw, is_id, tolerant};

tolerant! { Supplement { related_ids: Raw<'de> = "related_ids" } }
tolerant! {
    RelatedIds {
        order_id: Raw<'de> = "order_id",
        authorization_id: Raw<'de> = "authorization_id",
        capture_id: Raw<'de> = "capture_id",
    }
}
tolerant! { Link { href: Raw<'de> = "href", rel: Raw<'de> = "rel" } }

/// More than any object of PayPal's has.
const LINKS_MAX: usize = 50;

/// The objects that a resource belongs to.
#[derive(Default)]
pub(super) struct Parents {
    pub(super) orders: BTreeSet<String>,
    pub(super) authorizations: BTreeSet<String>,
    pub(super) captures: BTreeSet<String>,
}

/// What the resource names in `supplementary_data` counts; of a kind that it does not
/// name there, the link upwards. The first API names its own: a sale's
/// `parent_payment`, a refund's `sale_id` or `capture_id`.
pub(super) fn parents(resource: &Resource<'_>) -> Parents {
    let related: RelatedIds<'_> = resource.supplementary_data.read::<Supplement<'_>>().related_ids.read();
    let first = |named: [Raw<'_>; 3]| named.into_iter().find_map(Raw::id).into_iter().collect::<BTreeSet<_>>();
    let mut parents = Parents {
        orders: first([related.order_id, resource.parent_payment, Raw::default()]),
        authorizations: first([related.authorization_id, Raw::default(), Raw::default()]),
        captures: first([related.capture_id, resource.capture_id, resource.sale_id]),
    };
    for (kind, id) in linked(resource) {
        let ids = match kind {
            "orders" | "payment" => &mut parents.orders,
            "authorizations" | "authorization" => &mut parents.authorizations,
            "captures" | "capture" | "sale" => &mut parents.captures,
            _ => continue,
        };
        if ids.is_empty() {
            ids.insert(id);
        }
    }
    parents
}

/// What links name: of which collection, and which id.
fn linked(resource: &Resource<'_>) -> Vec<(&'static str, String)> {
    const UPWARDS: [&str; 6] = ["up", "parent_payment", "order", "authorization", "capture", "sale"];
    const COLLECTIONS: [&str; 7] =
        ["orders", "payment", "authorizations", "authorization", "captures", "capture", "sale"];
    let links = resource.links.items().into_iter().take(LINKS_MAX).map(|link| link.read::<Link<'_>>());
    links
        .filter(|link| link.rel.text().is_some_and(|rel| UPWARDS.contains(&&*rel)))
        .filter_map(|link| {
            let href = link.href.text()?;
            let path = href.split(['?', '#']).next()?.trim_end_matches('/');
            let (before, id) = path.rsplit_once('/')?;
            let (_, collection) = before.rsplit_once('/')?;
            let known = COLLECTIONS.into_iter().find(|known| *known == collection)?;
            is_id(id).then(|| (known, id.to_owned()))
        })
        .collect()
}
