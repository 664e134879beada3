//! What an event, or a fetched object, states about payments.
//!
//! The object in the event is the truth, rendered in whatever API version the
//! merchant pinned; the event's type is only held against it. Where a rule says
//! "older versions", <https://docs.stripe.com/changelog> is the source, read
//! together with the recorded events of the corpus.

mod charge;
mod details;
mod dispute;
mod intent;
mod reader;
mod refund;
mod session;
mod thin;

use domain::lattice::Latest;
use domain::{Facts, Timestamp};

use super::envelope::{Document, envelope};
use crate::json::{self, Raw, tolerant};
use crate::{NotAnEvent, Statement};

tolerant! { Data { object: Object<'de> = "object" } }

tolerant! {
    /// The fields of all the objects that concern payments. They are read in one
    /// pass, before it is known which object it is.
    Object {
        id: Raw<'de> = "id",
        object: Raw<'de> = "object",
        status: Raw<'de> = "status",
        created: Raw<'de> = "created",
        amount: Raw<'de> = "amount",
        currency: Raw<'de> = "currency",
        customer: Raw<'de> = "customer",
        description: Raw<'de> = "description",
        metadata: Raw<'de> = "metadata",
        payment_intent: Raw<'de> = "payment_intent",
        payment_method_types: Raw<'de> = "payment_method_types",
        reason: Raw<'de> = "reason",
        charge: Raw<'de> = "charge",
        // Payment intents.
        amount_received: Raw<'de> = "amount_received",
        canceled_at: Raw<'de> = "canceled_at",
        charges: Raw<'de> = "charges",
        last_payment_error: Raw<'de> = "last_payment_error",
        latest_charge: Raw<'de> = "latest_charge",
        // Charges.
        amount_captured: Raw<'de> = "amount_captured",
        amount_refunded: Raw<'de> = "amount_refunded",
        captured: Raw<'de> = "captured",
        failure_code: Raw<'de> = "failure_code",
        failure_message: Raw<'de> = "failure_message",
        paid: Raw<'de> = "paid",
        payment_method_details: Raw<'de> = "payment_method_details",
        refunded: Raw<'de> = "refunded",
        refunds: Raw<'de> = "refunds",
        // Refunds.
        failure_reason: Raw<'de> = "failure_reason",
        // Disputes.
        balance_transactions: Raw<'de> = "balance_transactions",
        evidence_details: Raw<'de> = "evidence_details",
        evidence_due_by: Raw<'de> = "evidence_due_by",
        // Checkout sessions.
        amount_total: Raw<'de> = "amount_total",
        client_reference_id: Raw<'de> = "client_reference_id",
        customer_details: Raw<'de> = "customer_details",
        customer_email: Raw<'de> = "customer_email",
        mode: Raw<'de> = "mode",
        payment_status: Raw<'de> = "payment_status",
        // Terminal readers.
        action: Raw<'de> = "action",
    }
}

/// When, by which event and under which type something was said.
struct Said<'a> {
    at: Timestamp,
    by: &'a str,
    /// Empty for a fetched object.
    event_type: &'a str,
}

impl Said<'_> {
    fn latest<T>(&self, value: T) -> Latest<T> {
        Latest::said(self.at, self.by, value)
    }

    fn is(&self, event_type: &str) -> bool {
        self.event_type == event_type
    }
}

/// Reads what an event states. Whatever [`envelope`] accepts has a statement; of
/// what is not known it is empty.
pub fn normalise(body: &[u8]) -> Result<Statement, NotAnEvent> {
    let Ok(document) = Document::<Data<'_>>::read(json::document(body)?) else {
        // Inside `data` is something that no JSON value can hold (a number beyond
        // all bounds, half a surrogate pair). It is an event, but states nothing.
        return envelope(body).map(|_| Statement::default());
    };
    let (event_id, event_type) = document.identity()?;
    let object = &document.data.object;
    // Without any time of its own an event is older than all that have one.
    let at = document.created().instant().or_else(|| object.created.instant()).unwrap_or_default();
    let said = Said { at, by: &event_id, event_type: &event_type };
    if !object.id.is_some() && !object.object.is_some() && document.related_object().is_some() {
        return Ok(thin::state(document.related_object(), document.created().instant()));
    }
    Ok(state(object, &said))
}

/// What an object states that was fetched from the API: `at` is when, `by` names
/// the fetch where two statements of one instant have to be told apart.
pub fn object_facts(json: &[u8], at: Timestamp, by: &str) -> Result<Statement, NotAnEvent> {
    let object: Object<'_> =
        serde_json::from_str(json::document(json)?).map_err(|_| NotAnEvent("the object is not JSON"))?;
    Ok(state(&object, &Said { at, by, event_type: "" }))
}

fn state(object: &Object<'_>, said: &Said<'_>) -> Statement {
    let mut facts = Facts::default();
    let id = object.id.id();
    match object.object.text().as_deref().or_else(|| kind_of_id(id.as_deref()?)) {
        Some("payment_intent") => intent::state(object, said, &mut facts),
        Some("charge") => charge::state(object, said, &mut facts),
        Some("refund") => refund::state(object, said, &mut facts),
        Some("dispute") => dispute::state(object, said, &mut facts),
        Some("checkout.session") => session::state(object, said, &mut facts),
        Some("terminal.reader") => reader::state(object, said, &mut facts),
        _ => {} // Of no concern, or not known yet.
    }
    Statement { facts, object_id: id, needs_fetch: false }
}

/// What an id's prefix says that it names: `py_` and `pyr_` are charges and
/// refunds of methods other than cards, `du_` is what `dp_` was called once.
fn kind_of_id(id: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 9] = [
        ("pi_", "payment_intent"),
        ("ch_", "charge"),
        ("py_", "charge"),
        ("re_", "refund"),
        ("pyr_", "refund"),
        ("dp_", "dispute"),
        ("du_", "dispute"),
        ("cs_", "checkout.session"),
        ("tmr_", "terminal.reader"),
    ];
    KINDS.iter().find(|(prefix, _)| id.starts_with(prefix)).map(|(_, kind)| *kind)
}
