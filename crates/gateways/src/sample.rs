//! Lifelike payloads of the senders that only say completed or failed, for
//! `trigger` and tests. Stripe's are in [`crate::stripe::sample`].

use domain::money::Minor;
use domain::{Currency, Money, Timestamp};

use crate::Gateway;
use crate::payload::Outcome;
use crate::stripe::sample::SampleEvent;

/// The types that [`Wanted::event`] makes.
pub const TYPES: &[&str] = &[Outcome::Completed.event_type(), Outcome::Failed.event_type()];

const MESSAGE_ID_LETTERS: usize = 27;

/// What a sample is to state. Without any id it is a payment that is made up;
/// with one, what is `None` is not stated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub payment_id: Option<String>,
    pub transaction_id: Option<String>,
    pub order_id: Option<String>,
    /// Into the metadata, under its own name.
    pub booking_id: Option<String>,
    pub amount: Option<Minor>,
    pub currency: Option<Currency>,
}

impl Wanted {
    /// One event as that sender would send it, unsigned. `None` for a type that is
    /// not among [`TYPES`], and for a gateway whose payloads are not of this kind.
    pub fn event(&self, gateway: Gateway, event_type: &str, seed: u64, at: Timestamp) -> Option<SampleEvent> {
        let outcome = [Outcome::Completed, Outcome::Failed].into_iter().find(|o| o.event_type() == event_type)?;
        let mut rng = fastrand::Rng::with_seed(seed);
        let stated = self.or_made_up(&mut rng);
        let body = match gateway {
            Gateway::Generic => stated.generic(outcome, at),
            Gateway::Microservice => stated.microservice(outcome, at),
            Gateway::StandardWebhooks => object(&[
                ("type", Some(quoted(event_type))),
                ("timestamp", Some(quoted(&at.to_string()))),
                ("data", Some(stated.generic(outcome, at))),
            ]),
            _ => return None,
        };
        let id = match gateway {
            Gateway::StandardWebhooks => {
                let letters: String = (0..MESSAGE_ID_LETTERS).map(|_| rng.alphanumeric()).collect();
                format!("msg_{letters}")
            }
            _ => gateway.envelope(&http::HeaderMap::new(), body.as_bytes()).ok()?.event_id,
        };
        Some(SampleEvent { id, event_type: outcome.event_type(), created_at: at, body })
    }

    fn or_made_up(&self, rng: &mut fastrand::Rng) -> Self {
        let mut stated = self.clone();
        if self.payment_id.is_none() && self.transaction_id.is_none() && self.order_id.is_none() {
            stated.payment_id = Some(rng.u32(1_000..900_000).to_string());
            stated.transaction_id = Some(format!("TXN-{}", rng.u32(100_000..1_000_000)));
            stated.amount = self.amount.or(Minor::new(rng.i64(5..250) * 100));
        }
        stated
    }

    /// The amount as a decimal, and its currency; dollars if none is wanted.
    fn money(&self) -> (Option<String>, Option<String>) {
        let currency = self.currency.or_else(|| Currency::parse("USD"));
        let money = self.amount.zip(currency).map(|(amount, currency)| Money { amount, currency }.to_string());
        match money.as_deref().and_then(|text| text.split_once(' ')) {
            Some((decimal, code)) => (Some(decimal.to_owned()), Some(quoted(code))),
            None => (None, self.currency.map(|currency| quoted(currency.code()))),
        }
    }

    fn generic(&self, outcome: Outcome, at: Timestamp) -> String {
        let (amount, currency) = self.money();
        let metadata = object(&[("booking_id", text(&self.booking_id))]);
        object(&[
            ("payment_id", text(&self.payment_id)),
            ("transaction_id", text(&self.transaction_id)),
            ("order_id", text(&self.order_id)),
            ("status", Some(quoted(outcome.as_str()))),
            ("amount", amount),
            ("currency", currency),
            ("timestamp", Some(quoted(&at.to_string()))),
            ("metadata", Some(metadata)),
        ])
    }

    fn microservice(&self, outcome: Outcome, at: Timestamp) -> String {
        let (amount, currency) = self.money();
        let metadata =
            object(&[("providerTransactionId", text(&self.transaction_id)), ("booking_id", text(&self.booking_id))]);
        object(&[
            ("paymentId", text(&self.payment_id)),
            ("orderId", text(&self.order_id)),
            ("status", Some(quoted(outcome.as_str()))),
            ("paymentMethod", Some(quoted("webpay"))),
            ("event", Some(quoted(outcome.event_type()))),
            ("amount", amount),
            ("currency", currency),
            ("timestamp", Some(quoted(&at.to_string()))),
            ("metadata", Some(metadata)),
        ])
    }
}

fn text(value: &Option<String>) -> Option<String> {
    value.as_deref().map(quoted)
}

/// A JSON object of the fields that are there, each given as JSON: a decimal keeps
/// the digits that it was written with.
fn object(fields: &[(&str, Option<String>)]) -> String {
    let fields = fields.iter().filter_map(|(key, json)| Some(format!("{}:{}", quoted(key), json.as_deref()?)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
