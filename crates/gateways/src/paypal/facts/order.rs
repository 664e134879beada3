//! Orders, and the first API's payments. <https://developer.paypal.com/docs/api/orders/v2/>

use domain::Facts;
use domain::intent::Details;
use domain::lattice::{Join, Largest, Latest};
use domain::money::Money;
use domain::paypal::{OrderStatus, PaypalOrderFacts};

use super::details::{named, word};
use super::{Resource, Said, authorization, capture, refund};
use crate::json::{Raw, tolerant};
use crate::paypal::amount::money;

/// PayPal's own limit is ten.
const UNITS_MAX: usize = 50;

/// More payments than can be made of one order.
const PAYMENTS_MAX: usize = 500;

tolerant! {
    /// A purchase unit or, in the first API, a transaction.
    Unit {
        amount: Raw<'de> = "amount",
        description: Raw<'de> = "description",
        reference_id: Raw<'de> = "reference_id",
        custom_id: Raw<'de> = "custom_id",
        invoice_id: Raw<'de> = "invoice_id",
        custom: Raw<'de> = "custom",
        invoice_number: Raw<'de> = "invoice_number",
        payments: Raw<'de> = "payments",
        related_resources: Raw<'de> = "related_resources",
    }
}
tolerant! {
    Payments {
        captures: Raw<'de> = "captures",
        authorizations: Raw<'de> = "authorizations",
        refunds: Raw<'de> = "refunds",
    }
}
tolerant! {
    /// One of the first API's `related_resources`.
    Related {
        sale: Raw<'de> = "sale",
        capture: Raw<'de> = "capture",
        authorization: Raw<'de> = "authorization",
        refund: Raw<'de> = "refund",
    }
}
tolerant! { Payer { payer_id: Raw<'de> = "payer_id", email_address: Raw<'de> = "email_address" } }

/// Returns the order's id. What it shows of its captures is said of *them*: the order
/// itself says only how far it is, and never that there is money.
pub(super) fn state(resource: &Resource<'_>, said: &Said<'_>, facts: &mut Facts) -> Option<String> {
    let id = resource.id.id()?;
    let units = units(resource);
    let status = resource.status_word();
    let rank = match status.as_deref() {
        Some("CREATED") => Some(OrderStatus::Created),
        Some("SAVED") => Some(OrderStatus::Saved),
        Some("PAYER_ACTION_REQUIRED") => Some(OrderStatus::PayerActionRequired),
        Some("APPROVED") => Some(OrderStatus::Approved),
        Some("COMPLETED") => Some(OrderStatus::Completed),
        _ => None,
    };
    // The first API's words for it are the others.
    let voided = matches!(status.as_deref(), Some("VOIDED" | "CANCELLED" | "CANCELED" | "EXPIRED"));
    let said_complete = matches!(said.event_type, "CHECKOUT.ORDER.COMPLETED" | "CHECKOUT.ORDER.VOIDED");
    facts.paypal_orders.entry(id.clone()).or_default().join(PaypalOrderFacts {
        rank: rank.into(),
        voided,
        said_at: Largest::of(said.at),
        details: details(resource, &units).map(|details| said.latest(details)).unwrap_or_default(),
        named: names(&units, said),
        type_disagrees: said_complete && rank != Some(OrderStatus::Completed) && !voided,
        ..PaypalOrderFacts::default()
    });
    for unit in &units {
        made_of(unit, &id, said, facts);
    }
    Some(id)
}

/// PayPal took back what the buyer had approved, before it was captured. Only the
/// order's id is shown.
pub(super) fn approval_reversed(resource: &Resource<'_>, said: &Said<'_>, facts: &mut Facts) -> Option<String> {
    let id = resource.order_id.id()?;
    facts.paypal_orders.entry(id.clone()).or_default().join(PaypalOrderFacts {
        voided: true,
        said_at: Largest::of(said.at),
        named: names(&units(resource), said),
        ..PaypalOrderFacts::default()
    });
    Some(id)
}

fn units<'a>(resource: &Resource<'a>) -> Vec<Unit<'a>> {
    let new = resource.purchase_units.items();
    let units = if new.is_empty() { resource.transactions.items() } else { new };
    units.into_iter().take(UNITS_MAX).map(Raw::read).collect()
}

fn made_of(unit: &Unit<'_>, order_id: &str, said: &Said<'_>, facts: &mut Facts) {
    let payments: Payments<'_> = unit.payments.read();
    let related: Vec<Related<'_>> =
        unit.related_resources.items().into_iter().take(PAYMENTS_MAX).map(Raw::read).collect();
    let captures = payments.captures.items().into_iter().chain(related.iter().flat_map(|r| [r.sale, r.capture]));
    for shown in captures.take(PAYMENTS_MAX) {
        let inner: Resource<'_> = shown.read();
        capture::state(&inner, &said.within(&inner), Some(order_id), facts);
    }
    let held = payments.authorizations.items().into_iter().chain(related.iter().map(|r| r.authorization));
    for shown in held.take(PAYMENTS_MAX) {
        let inner: Resource<'_> = shown.read();
        authorization::state(&inner, &said.within(&inner), Some(order_id), facts);
    }
    let refunds = payments.refunds.items().into_iter().chain(related.iter().map(|r| r.refund));
    for shown in refunds.take(PAYMENTS_MAX) {
        let inner: Resource<'_> = shown.read();
        refund::state(&inner, &said.within(&inner), false, facts);
    }
}

/// `None` where no amount is said, so that silence overwrites nothing.
fn details(resource: &Resource<'_>, units: &[Unit<'_>]) -> Option<Details> {
    let amounts: Vec<Money> = units.iter().filter_map(|unit| money(unit.amount)).collect();
    let currency = amounts.first()?.currency;
    let all_are_read = amounts.len() == units.len() && amounts.iter().all(|money| money.currency == currency);
    let payer: Payer<'_> = resource.payer.read();
    // Its only key is the method: `paypal`, `card`, …
    let methods = resource.payment_source.entries(2);
    let method = if let [(method, _)] = &methods[..] { Some(crate::json::shorten(method, 255)) } else { None };
    all_are_read.then(|| Details {
        amount: Some(amounts.iter().map(|money| money.amount).sum()),
        currency: Some(currency),
        customer: payer.payer_id.id().or_else(|| payer.email_address.id()),
        description: units.iter().find_map(|unit| word(unit.description)),
        method,
        ..Details::default()
    })
}

/// Of several purchase units the first that is called something.
fn names(units: &[Unit<'_>], said: &Said<'_>) -> Latest<Details> {
    let first =
        |field: fn(&Unit<'_>) -> [Option<String>; 2]| units.iter().find_map(|u| field(u).into_iter().flatten().next());
    let custom = first(|unit| [word(unit.custom_id), word(unit.custom)]);
    let invoice = first(|unit| [word(unit.invoice_id), word(unit.invoice_number)]);
    // Where the merchant gives none, PayPal says `default`.
    let reference = first(|unit| [word(unit.reference_id).filter(|text| text != "default"), None]);
    named(said, [("custom_id", custom), ("invoice_id", invoice), ("reference_id", reference)])
}
