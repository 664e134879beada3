//! The generic gateway: a merchant's own system, or one that was made to speak like
//! it. It says of a payment that it is `completed` or `failed`.

mod verify;

use domain::external::ExternalIds;
use domain::{Mode, Timestamp};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::payload::{self, Outcome, Payload, SaidTime, raw};
use crate::{Envelope, NotAnEvent, Statement, json, standard_webhooks};

pub use verify::{SIGNATURE_HEADER, secret, sign, verify};

/// A key that is repeated is refused. Keys that are not known mean nothing.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    payment_id: Option<&'a RawValue>,
    #[serde(borrow)]
    transaction_id: Option<&'a RawValue>,
    #[serde(borrow)]
    order_id: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    failure_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// Reads which event a delivery is. Its id is the one that the signature covers:
/// `webhook-id`, else the body's own, else a hash of what it says.
pub fn envelope(headers: &HeaderMap, body: &[u8]) -> Result<Envelope, NotAnEvent> {
    let document: Document<'_> = payload::read(json::document(body)?)?;
    let payload = document.payload()?;
    let event_id = match verify::is_standard(headers) {
        true => Some(standard_webhooks::id(headers).map_err(|_| NotAnEvent("`webhook-id` is no id"))?.to_owned()),
        false => document.event_id(&payload)?,
    };
    Ok(Envelope {
        event_id: event_id.unwrap_or_else(|| payload.event_id()),
        event_type: payload.outcome.event_type().to_owned(),
        api_version: None,
        mode: Mode::Live,
        connected_account: None,
        created_at: payload.time.instant(),
    })
}

/// Reads what a body states.
pub fn normalise(body: &[u8], received_at: Timestamp) -> Result<Statement, NotAnEvent> {
    Ok(read(json::document(body)?)?.statement(received_at))
}

/// Reads the payment that a JSON text is about.
pub(crate) fn read(text: &str) -> Result<Payload, NotAnEvent> {
    payload::read::<Document<'_>>(text)?.payload()
}

impl Document<'_> {
    fn payload(&self) -> Result<Payload, NotAnEvent> {
        let outcome = Outcome::read(raw(self.status))?;
        let ids = ExternalIds {
            transaction: payload::id(self.transaction_id, "`transaction_id` is neither a text nor a whole number")?,
            payment: payload::id(self.payment_id, "`payment_id` is neither a text nor a whole number")?,
            order: payload::id(self.order_id, "`order_id` is neither a text nor a whole number")?,
        };
        if ids.transaction.is_none() && ids.payment.is_none() {
            return Err(NotAnEvent("neither `payment_id` nor `transaction_id` is there"));
        }
        let (amount, currency) = payload::amount(self.amount, self.currency)?;
        Ok(Payload {
            outcome,
            ids,
            amount,
            currency,
            time: SaidTime::read(raw(self.timestamp))?.or(SaidTime::read(raw(self.created_at))?),
            method: payload::word(self.method, "`method` is not a text")?,
            failure: payload::failure(self.error)?.or(payload::failure(self.failure_reason)?),
            metadata: payload::metadata(self.metadata)?,
        })
    }

    /// The sender's own id for the event. An `id` that is the payment's is none: then
    /// all events about the payment would be one.
    fn event_id(&self, payload: &Payload) -> Result<Option<String>, NotAnEvent> {
        let event_id = payload::id(self.event_id, "`event_id` is neither a text nor a whole number")?;
        let id = payload::id(self.id, "`id` is neither a text nor a whole number")?;
        let of_payment = [&payload.ids.transaction, &payload.ids.payment, &payload.ids.order];
        Ok(event_id.or(id.filter(|id| !of_payment.contains(&&Some(id.clone())))))
    }
}
