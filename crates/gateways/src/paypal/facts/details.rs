//! What describes a payment without deciding anything about it.

use std::collections::BTreeMap;

use domain::intent::{Details, Failure};
use domain::lattice::Latest;

use super::{Resource, Said};
use crate::json::{Raw, tolerant};
use crate::paypal::amount::money;

/// PayPal's own limits are 127 and 255.
const WORD_CHARS_MAX: usize = 255;

tolerant! { StatusDetails { reason: Raw<'de> = "reason" } }

/// `None` where the resource says no amount, so that silence overwrites nothing.
pub(super) fn details(resource: &Resource<'_>) -> Option<Details> {
    let money = money(resource.amount)?;
    Some(Details { amount: Some(money.amount), currency: Some(money.currency), ..Details::default() })
}

/// What the merchant calls it, under the keys of the second API; the bottom where it
/// is not called anything.
pub(super) fn named<const N: usize>(said: &Said<'_>, names: [(&str, Option<String>); N]) -> Latest<Details> {
    let metadata: BTreeMap<String, String> =
        names.into_iter().filter_map(|(key, name)| Some((key.to_owned(), name?))).collect();
    if metadata.is_empty() {
        return Latest::default();
    }
    said.latest(Details { metadata, ..Details::default() })
}

/// The names that captures and authorizations have, of both APIs.
pub(super) fn own_names(resource: &Resource<'_>, said: &Said<'_>) -> Latest<Details> {
    let custom = word(resource.custom_id).or_else(|| word(resource.custom));
    let invoice = word(resource.invoice_id).or_else(|| word(resource.invoice_number));
    named(said, [("custom_id", custom), ("invoice_id", invoice)])
}

/// Why something was declined, in PayPal's word.
pub(super) fn failure(resource: &Resource<'_>) -> Option<Failure> {
    let reason = resource.status_details.read::<StatusDetails<'_>>().reason;
    let code = word(reason).or_else(|| word(resource.reason_code))?;
    Some(Failure { code: Some(code), message: None })
}

/// PayPal writes `""` for what is not there.
pub(super) fn word(raw: Raw<'_>) -> Option<String> {
    raw.short_text(WORD_CHARS_MAX)
}
