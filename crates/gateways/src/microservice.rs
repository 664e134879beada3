//! A merchant's payment service, which speaks for the gateways behind it. It shows
//! an API key, which covers nothing of what it says.

mod verify;

use domain::external::ExternalIds;
use domain::{Mode, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Raw, tolerant};
use crate::payload::{self, Outcome, Payload, SaidTime, raw};
use crate::{Envelope, NotAnEvent, Statement, json};

pub use verify::{API_KEY_HEADER, secret, sign, verify};

/// Ways of paying that the service has.
const METHODS: [&str; 4] = ["webpay", "inner", "invoice", "paypal"];

/// A key that is repeated is refused. Keys that are not known mean nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(borrow)]
    payment_id: Option<&'a RawValue>,
    #[serde(borrow)]
    order_id: Option<&'a RawValue>,
    #[serde(borrow)]
    transaction_id: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    payment_method: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

tolerant! {
    Metadata {
        provider_transaction_id: Raw<'de> = "providerTransactionId",
        transaction_id: Raw<'de> = "transactionId",
    }
}

/// Reads which event a body is. Its id is a hash of what it says, because the API
/// key covers none that it might claim.
pub fn envelope(body: &[u8]) -> Result<Envelope, NotAnEvent> {
    let payload = read(body)?;
    Ok(Envelope {
        event_id: payload.event_id(),
        event_type: payload.outcome.event_type().to_owned(),
        api_version: None,
        mode: Mode::Live,
        connected_account: None,
        created_at: payload.time.instant(),
    })
}

/// Reads what a body states.
pub fn normalise(body: &[u8], received_at: Timestamp) -> Result<Statement, NotAnEvent> {
    Ok(read(body)?.statement(received_at))
}

fn read(body: &[u8]) -> Result<Payload, NotAnEvent> {
    let document: Document<'_> = payload::read(json::document(body)?)?;
    let outcome = Outcome::read(raw(document.status))?;
    let event = payload::word(document.event, "`event` is not a text")?;
    if event.is_some_and(|event| outcome.is_contradicted_by(&event)) {
        return Err(NotAnEvent("`event` and `status` contradict one another"));
    }
    let method = payload::word(document.payment_method, "`paymentMethod` is not a text")?;
    if method.as_ref().is_some_and(|method| !METHODS.contains(&method.as_str())) {
        return Err(NotAnEvent("`paymentMethod` is none of `webpay`, `inner`, `invoice` and `paypal`"));
    }
    let ids = document.ids()?;
    if ids == ExternalIds::default() {
        return Err(NotAnEvent("none of `paymentId`, `orderId` and `metadata.providerTransactionId` is there"));
    }
    let (amount, currency) = payload::amount(document.amount, document.currency)?;
    Ok(Payload {
        outcome,
        ids,
        amount,
        currency,
        time: SaidTime::read(raw(document.timestamp))?,
        method,
        failure: payload::failure(document.error)?,
        metadata: payload::metadata(document.metadata)?,
    })
}

impl Document<'_> {
    fn ids(&self) -> Result<ExternalIds, NotAnEvent> {
        let metadata: Metadata<'_> = raw(self.metadata).read();
        let said = payload::id(self.transaction_id, "`transactionId` is neither a text nor a whole number")?;
        let wrong = "a transaction id in `metadata` is neither a text nor a whole number";
        let of_provider = payload::id_of(metadata.provider_transaction_id, wrong)?;
        let of_metadata = payload::id_of(metadata.transaction_id, wrong)?;
        Ok(ExternalIds {
            transaction: of_provider.or(of_metadata).or(said),
            payment: payload::id(self.payment_id, "`paymentId` is neither a text nor a whole number")?,
            order: payload::id(self.order_id, "`orderId` is neither a text nor a whole number")?,
        })
    }
}
