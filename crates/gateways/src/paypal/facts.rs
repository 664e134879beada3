//! What an event, or a fetched object, states about payments.
//!
//! The resource in the event is the truth, rendered when it was sent; the event's type
//! says what kind of object the resource is, which `resource_type` does not always
//! (what `PAYMENT.SALE.REFUNDED` calls a sale is a refund), and is held against it.
//! <https://developer.paypal.com/api/rest/webhooks/event-names/>

mod authorization;
mod capture;
mod details;
mod dispute;
mod links;
mod order;
mod refund;

use domain::lattice::Latest;
use domain::{Facts, ObjectKind, Timestamp};

use super::envelope::{Document, envelope};
use crate::json::{self, Raw, tolerant};
use crate::{NotAnEvent, Statement};

tolerant! {
    /// The fields of all the objects that concern payments, of both APIs. They are
    /// read in one pass.
    Resource {
        id: Raw<'de> = "id",
        // The first API says `state`, in lower case.
        status: Raw<'de> = "status",
        state: Raw<'de> = "state",
        create_time: Raw<'de> = "create_time",
        update_time: Raw<'de> = "update_time",
        amount: Raw<'de> = "amount",
        links: Raw<'de> = "links",
        supplementary_data: Raw<'de> = "supplementary_data",
        parent_payment: Raw<'de> = "parent_payment",
        status_details: Raw<'de> = "status_details",
        reason_code: Raw<'de> = "reason_code",
        // What the merchant calls it; the first API has the second pair.
        custom_id: Raw<'de> = "custom_id",
        invoice_id: Raw<'de> = "invoice_id",
        custom: Raw<'de> = "custom",
        invoice_number: Raw<'de> = "invoice_number",
        // Orders, and the first API's payments.
        order_id: Raw<'de> = "order_id",
        purchase_units: Raw<'de> = "purchase_units",
        transactions: Raw<'de> = "transactions",
        payer: Raw<'de> = "payer",
        payment_source: Raw<'de> = "payment_source",
        // Refunds.
        seller_payable_breakdown: Raw<'de> = "seller_payable_breakdown",
        total_refunded_amount: Raw<'de> = "total_refunded_amount",
        sale_id: Raw<'de> = "sale_id",
        capture_id: Raw<'de> = "capture_id",
        note_to_payer: Raw<'de> = "note_to_payer",
        // Disputes.
        dispute_id: Raw<'de> = "dispute_id",
        disputed_transactions: Raw<'de> = "disputed_transactions",
        reason: Raw<'de> = "reason",
        dispute_amount: Raw<'de> = "dispute_amount",
        dispute_outcome: Raw<'de> = "dispute_outcome",
        dispute_life_cycle_stage: Raw<'de> = "dispute_life_cycle_stage",
        seller_response_due_date: Raw<'de> = "seller_response_due_date",
    }
}

impl Resource<'_> {
    /// The status in upper case, whichever API says it.
    fn status_word(&self) -> Option<String> {
        let text = self.status.text().or_else(|| self.state.text())?;
        Some(text.to_ascii_uppercase())
    }

    /// When this version of the object was made.
    fn updated_at(&self) -> Option<Timestamp> {
        instant(self.update_time)
    }
}

/// One that cannot be read is none.
fn instant(raw: Raw<'_>) -> Option<Timestamp> {
    raw.text().and_then(|text| Timestamp::parse(&text))
}

/// When, by which event and under which type something was said.
#[derive(Clone, Copy)]
struct Said<'a> {
    at: Timestamp,
    by: &'a str,
    /// Empty for a fetched object, and for one inside of another.
    event_type: &'a str,
}

impl<'a> Said<'a> {
    fn latest<T>(&self, value: T) -> Latest<T> {
        Latest::said(self.at, self.by, value)
    }

    /// What an object inside of another says: of its own time, if it has one.
    fn within(&self, inner: &Resource<'_>) -> Self {
        Self { at: inner.updated_at().unwrap_or(self.at), by: self.by, event_type: "" }
    }
}

/// Reads what an event states; `received_at` stands in where it has no time that can
/// be read. Whatever [`envelope`] accepts has a statement; of what is not known it is
/// empty.
pub fn normalise(body: &[u8], received_at: Timestamp) -> Result<Statement, NotAnEvent> {
    let Ok(document) = Document::<Resource<'_>>::read(json::document(body)?) else {
        // Inside `resource` is something that no JSON value can hold (a number beyond
        // all bounds, half a surrogate pair). It is an event, but states nothing.
        return envelope(&http::HeaderMap::new(), body).map(|_| Statement::default());
    };
    let (event_id, event_type) = document.identity()?;
    let resource = &document.resource;
    let own = resource.updated_at().or_else(|| document.created());
    let at = own.or_else(|| instant(resource.create_time)).unwrap_or(received_at);
    let said = Said { at, by: &event_id, event_type: &event_type };
    let mut facts = Facts::default();
    let object_id = match Kind::of(&event_type) {
        Some(Kind::Order) => order::state(resource, &said, &mut facts),
        Some(Kind::ApprovalReversed) => order::approval_reversed(resource, &said, &mut facts),
        Some(Kind::Capture) => capture::state(resource, &said, None, &mut facts),
        Some(Kind::Authorization) => authorization::state(resource, &said, None, &mut facts),
        Some(Kind::Refund { reversed }) => refund::state(resource, &said, reversed, &mut facts),
        Some(Kind::Dispute) => dispute::state(resource, &said, &mut facts),
        None => None, // Of no concern, or not known yet.
    };
    let needs_fetch = object_id.is_some() && needs_fetch(&event_type);
    Ok(Statement { facts, object_id, needs_fetch })
}

/// What a resource states that was fetched from the API: `at` is when, `by` names the
/// fetch where two statements of one instant have to be told apart. Kinds that PayPal
/// has not state nothing.
pub fn resource_facts(kind: ObjectKind, json: &[u8], at: Timestamp, by: &str) -> Result<Statement, NotAnEvent> {
    let resource: Resource<'_> =
        serde_json::from_str(json::document(json)?).map_err(|_| NotAnEvent("the resource is not JSON"))?;
    let said = Said { at: resource.updated_at().unwrap_or(at), by, event_type: "" };
    let mut facts = Facts::default();
    let object_id = match kind {
        ObjectKind::PaypalOrder => order::state(&resource, &said, &mut facts),
        ObjectKind::Capture => capture::state(&resource, &said, None, &mut facts),
        ObjectKind::Authorization => authorization::state(&resource, &said, None, &mut facts),
        ObjectKind::Refund => refund::state(&resource, &said, false, &mut facts),
        ObjectKind::Dispute => dispute::state(&resource, &said, &mut facts),
        _ => None,
    };
    for capture in facts.captures.values_mut() {
        capture.confirmed = capture.completed_at.is_some();
    }
    Ok(Statement { facts, object_id, needs_fetch: false })
}

/// What kind of object an event's resource is.
enum Kind {
    Order,
    ApprovalReversed,
    Capture,
    Authorization,
    Refund { reversed: bool },
    Dispute,
}

impl Kind {
    fn of(event_type: &str) -> Option<Self> {
        let (family, what) = event_type.rsplit_once('.')?;
        match (family, what) {
            ("PAYMENT.CAPTURE" | "PAYMENT.SALE", "REFUNDED") => Some(Self::Refund { reversed: false }),
            ("PAYMENT.CAPTURE" | "PAYMENT.SALE", "REVERSED") => Some(Self::Refund { reversed: true }),
            ("PAYMENT.CAPTURE" | "PAYMENT.SALE", _) => Some(Self::Capture),
            ("PAYMENT.REFUND", _) => Some(Self::Refund { reversed: false }),
            ("PAYMENT.AUTHORIZATION", _) => Some(Self::Authorization),
            ("CHECKOUT.PAYMENT-APPROVAL", "REVERSED") => Some(Self::ApprovalReversed),
            ("CHECKOUT.ORDER" | "PAYMENT.ORDER" | "PAYMENTS.PAYMENT", _) => Some(Self::Order),
            ("CUSTOMER.DISPUTE" | "RISK.DISPUTE", _) => Some(Self::Dispute),
            _ => None,
        }
    }
}

/// A dispute may have been appealed since: only PayPal can say where it stands. An
/// approval that was reversed names its order without showing it.
fn needs_fetch(event_type: &str) -> bool {
    matches!(
        event_type,
        "CUSTOMER.DISPUTE.UPDATED" | "CUSTOMER.DISPUTE.RESOLVED" | "CHECKOUT.PAYMENT-APPROVAL.REVERSED"
    )
}
