//! The parts of Stripe's events that are of use here, and what they say of a payment.

use std::borrow::Cow;

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Event<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    pub created: i64,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: Object<'a>,
}

/// Any of the objects: which fields are there depends on the event's type.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    payment_intent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    client_reference_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    currency: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payment_status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    failure_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    failure_code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    failure_message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    last_payment_error: Option<PaymentError<'a>>,
    evidence_details: Option<EvidenceDetails>,
    #[serde(default)]
    captured: bool,
    created: Option<i64>,
    amount: Option<i64>,
    amount_total: Option<i64>,
    amount_received: Option<i64>,
    amount_captured: Option<i64>,
    amount_refunded: Option<i64>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    order_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct PaymentError<'a> {
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct EvidenceDetails {
    due_by: Option<i64>,
}

/// What an event says of its payment.
#[derive(Default)]
pub struct Statement<'a> {
    pub intent: &'a str,
    pub order: Option<&'a str>,
    pub amount: i64,
    pub currency: &'a str,
    pub status: Option<&'static str>,
    pub captured: Option<Captured>,
    pub refunded: Option<i64>,
    pub failure: Option<Failure<'a>>,
    pub refund: Option<Refund<'a>>,
    pub dispute: Option<Dispute<'a>>,
}

pub struct Captured {
    pub amount: i64,
    pub at_seconds: i64,
}

pub struct Failure<'a> {
    pub code: Option<&'a str>,
    pub message: Option<&'a str>,
}

pub struct Refund<'a> {
    pub id: &'a str,
    pub status: &'a str,
    pub reason: Option<&'a str>,
    pub failure_reason: Option<&'a str>,
}

pub struct Dispute<'a> {
    pub id: &'a str,
    pub status: &'a str,
    pub reason: Option<&'a str>,
    pub due_by_seconds: Option<i64>,
}

impl Event<'_> {
    /// `None` for an event that is of no concern to any payment.
    pub fn statement(&self) -> Option<Statement<'_>> {
        let object = &self.data.object;
        let captured = |amount: Option<i64>| Some(Captured { amount: amount?, at_seconds: self.created });
        Some(match &*self.kind {
            "payment_intent.created" => object.as_intent("pending")?,
            "payment_intent.requires_action" => object.as_intent("requires_action")?,
            "payment_intent.processing" => object.as_intent("processing")?,
            "payment_intent.amount_capturable_updated" => object.as_intent("authorized")?,
            "payment_intent.payment_failed" => Statement {
                failure: object
                    .last_payment_error
                    .as_ref()
                    .map(|error| Failure { code: error.code.as_deref(), message: error.message.as_deref() }),
                ..object.as_intent("failed")?
            },
            "payment_intent.succeeded" => {
                Statement { captured: captured(object.amount_received), ..object.as_intent("paid")? }
            }
            "payment_intent.canceled" => object.as_intent("canceled")?,
            "charge.pending" => object.as_charge("processing")?,
            "charge.failed" => Statement {
                failure: Some(Failure {
                    code: object.failure_code.as_deref(),
                    message: object.failure_message.as_deref(),
                }),
                ..object.as_charge("failed")?
            },
            // An authorisation succeeds too; the money comes with its capture.
            "charge.succeeded" | "charge.captured" if object.captured => {
                Statement { captured: captured(object.amount_captured), ..object.as_charge("paid")? }
            }
            "charge.succeeded" | "charge.captured" => object.as_charge("authorized")?,
            "charge.refunded" => {
                let amount = object.amount_captured?;
                Statement {
                    captured: Some(Captured { amount, at_seconds: object.created.unwrap_or(self.created) }),
                    // Stripe counts what a partial capture released as refunded.
                    refunded: Some(object.amount_refunded? - (object.amount? - amount)),
                    ..object.as_charge("paid")?
                }
            }
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
                if object.payment_status.as_deref() != Some("paid") {
                    return None;
                }
                Statement {
                    order: object.order().or(object.client_reference_id.as_deref()),
                    captured: captured(object.amount_total),
                    status: Some("paid"),
                    ..object.as_part(object.amount_total?)?
                }
            }
            "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => Statement {
                refund: Some(Refund {
                    id: &object.id,
                    status: object.status.as_deref()?,
                    reason: object.reason.as_deref(),
                    failure_reason: object.failure_reason.as_deref(),
                }),
                ..object.as_part(object.amount?)?
            },
            "charge.dispute.created"
            | "charge.dispute.updated"
            | "charge.dispute.funds_withdrawn"
            | "charge.dispute.funds_reinstated"
            | "charge.dispute.closed" => Statement {
                dispute: Some(Dispute {
                    id: &object.id,
                    status: object.status.as_deref()?,
                    reason: object.reason.as_deref(),
                    due_by_seconds: object.evidence_details.as_ref().and_then(|details| details.due_by),
                }),
                ..object.as_part(object.amount?)?
            },
            _ => return None,
        })
    }
}

impl Object<'_> {
    fn order(&self) -> Option<&str> {
        self.metadata.as_ref()?.order_id.as_deref()
    }

    fn as_intent(&self, status: &'static str) -> Option<Statement<'_>> {
        Some(Statement {
            intent: &self.id,
            order: self.order(),
            amount: self.amount?,
            currency: self.currency.as_deref()?,
            status: Some(status),
            ..Statement::default()
        })
    }

    fn as_charge(&self, status: &'static str) -> Option<Statement<'_>> {
        Some(Statement { order: self.order(), status: Some(status), ..self.as_part(self.amount?)? })
    }

    /// What only names its payment: a refund, a dispute.
    fn as_part(&self, amount: i64) -> Option<Statement<'_>> {
        Some(Statement {
            intent: self.payment_intent.as_deref()?,
            amount,
            currency: self.currency.as_deref()?,
            ..Statement::default()
        })
    }
}
