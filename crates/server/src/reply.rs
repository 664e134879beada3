//! What a sender is told of a delivery that was taken.

use std::time::Duration;

use axum::http::StatusCode;
use domain::PaymentStatus;
use domain::booking::{BookingReason, BookingStatus};
use engine::Settled;
use serde::Serialize;
use store::{EventIdentity, EventOutcome, EventState};

use crate::refusal::Refusal;
use crate::{App, Endpoint};

/// How long a sender waits for its event to be applied.
const APPLIED_TIMEOUT: Duration = Duration::from_secs(5);

/// The one shape of every reply.
#[derive(Debug, Serialize)]
pub(crate) struct Reply<'a> {
    pub received: bool,
    pub status: &'static str,
    pub event_id: &'a str,
    #[serde(flatten)]
    pub outcome: Option<&'a Fields>,
}

/// What came of an event.
#[derive(Debug, Serialize)]
pub(crate) struct Fields {
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_status: Option<PaymentStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    booking_id: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Answer {
    /// On disk; it is applied after.
    Accepted,
    /// On disk, and applying it takes longer than the sender waits.
    AcceptedOnly,
    /// On disk, and applied.
    Success(Fields),
    /// It came before, with what became of it then.
    Duplicate(Option<Fields>),
    /// Of no concern.
    Ignored,
}

impl Answer {
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Accepted | Self::AcceptedOnly => "accepted",
            Self::Success(_) => "success",
            Self::Duplicate(_) => "duplicate",
            Self::Ignored => "ignored",
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::AcceptedOnly => StatusCode::ACCEPTED,
            Self::Accepted | Self::Success(_) | Self::Duplicate(_) | Self::Ignored => StatusCode::OK,
        }
    }

    pub(crate) const fn fields(&self) -> Option<&Fields> {
        match self {
            Self::Success(fields) | Self::Duplicate(Some(fields)) => Some(fields),
            Self::Accepted | Self::AcceptedOnly | Self::Duplicate(None) | Self::Ignored => None,
        }
    }
}

/// What became of an event that came before.
pub(crate) async fn of_duplicate(app: &App, endpoint: &Endpoint, event: EventIdentity) -> Result<Answer, Refusal> {
    let outcome = outcome(app, endpoint, &event).await?;
    Ok(match outcome {
        Some(outcome) if outcome.state == EventState::Ignored => Answer::Ignored,
        Some(outcome) => Answer::Duplicate(Some(fields(outcome))),
        None => Answer::Duplicate(None),
    })
}

/// An event whose outcome its sender is told.
pub(crate) struct Awaited {
    pub event: EventIdentity,
    pub settled: Settled,
}

/// Waits until an event that was stored is applied too.
pub(crate) async fn once_applied(app: &App, endpoint: &Endpoint, awaited: Awaited) -> Result<Answer, Refusal> {
    let Awaited { event, mut settled } = awaited;
    let applied = async {
        loop {
            settled.wait().await;
            settled = app.intake.settlement_of(&event.event_id); // Before looking, so that nothing is missed.
            let outcome = outcome(app, endpoint, &event).await?;
            if let Some(outcome) = outcome.filter(|outcome| outcome.state != EventState::Pending) {
                return Ok(outcome);
            }
        }
    };
    let Ok(outcome) = tokio::time::timeout(APPLIED_TIMEOUT, applied).await else { return Ok(Answer::AcceptedOnly) };
    let outcome = outcome?;
    match outcome.state {
        EventState::Applied => Ok(Answer::Success(fields(outcome))),
        EventState::Ignored => Ok(Answer::Ignored),
        EventState::Waiting => Err(Refusal::Unmatched(event.event_id)),
        EventState::Failed | EventState::Dead => Err(Refusal::NotApplied(event.event_id)),
        EventState::Pending => Ok(Answer::AcceptedOnly),
    }
}

/// It is durable, whatever happens here.
async fn outcome(app: &App, endpoint: &Endpoint, event: &EventIdentity) -> Result<Option<EventOutcome>, Refusal> {
    app.store.outcome(&endpoint.account, event.clone()).await.map_err(|error| {
        tracing::error!(endpoint = endpoint.path, event_id = event.event_id, %error, "An outcome cannot be read");
        Refusal::NotApplied(event.event_id.clone())
    })
}

fn fields(outcome: EventOutcome) -> Fields {
    let message = message(&outcome);
    let EventOutcome { payment, booking, .. } = outcome;
    let payment = payment.map(|row| row.payment);
    Fields {
        message,
        payment_status: payment.as_ref().map(|payment| payment.status),
        transaction_id: payment.as_ref().and_then(|payment| payment.transaction_id.clone()),
        order_id: payment.as_ref().and_then(|payment| payment.order_id.clone()),
        payment_id: payment.map(|payment| payment.id),
        booking_id: booking.map(|booking| booking.id),
    }
}

/// In words, what the event did, or what it found done.
fn message(outcome: &EventOutcome) -> &'static str {
    let said = outcome.said.unwrap_or(PaymentStatus::Pending);
    let payment = outcome.payment.as_ref().map(|row| &row.payment);
    if payment.is_some_and(|payment| payment.hold_reason.is_some()) {
        return "Payment held: not what was registered was paid";
    }
    if let Some(booking) = &outcome.booking {
        let lost = booking.reason.as_deref() == Some(BookingReason::DatesUnavailable.as_str());
        let failed = matches!(said, PaymentStatus::Failed | PaymentStatus::Canceled);
        match BookingStatus::parse(&booking.status) {
            Some(BookingStatus::Cancelled) if lost => return "Booking cancelled: dates no longer available",
            Some(BookingStatus::Cancelled) if failed => return "Booking cancelled: payment failed",
            Some(BookingStatus::Cancelled) if said == PaymentStatus::Paid => {
                return "Booking is cancelled; the payment is recorded";
            }
            Some(BookingStatus::Confirmed) if said == PaymentStatus::Paid => return "Booking confirmed",
            _ => {}
        }
    }
    let collected = payment.is_some_and(|payment| payment.status.is_collected());
    match said {
        PaymentStatus::Paid => "Payment confirmed",
        PaymentStatus::PartiallyRefunded | PaymentStatus::Refunded => "Payment refunded",
        PaymentStatus::Authorized => "Payment authorized",
        PaymentStatus::Failed | PaymentStatus::Canceled if collected => "Payment is confirmed already",
        PaymentStatus::Failed => "Payment failed",
        PaymentStatus::Canceled => "Payment canceled",
        PaymentStatus::Pending | PaymentStatus::RequiresAction | PaymentStatus::Processing => "Payment updated",
    }
}
