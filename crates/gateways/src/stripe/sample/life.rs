//! What can happen to a payment, as tables of what is sent when.

use domain::{DisputeStatus, PaymentStatus};

/// A kind of life. Lifelike in the order and the distances of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifeKind {
    Success,
    /// A declined card, then another one.
    FailThenSuccess,
    /// Declined, and given up.
    Declined,
    ThreeDSecure,
    ManualCapture,
    PartialCapture,
    /// Days pass before the bank answers.
    BankDebit,
    Canceled,
    FullRefund,
    PartialRefunds,
    /// The refund is returned by the customer's bank.
    RefundFails,
    DisputeWon,
    DisputeLost,
    Checkout,
    Terminal,
}

/// One thing that happens.
pub(super) enum Step {
    /// So many seconds after the last one, an event of this type.
    Send(u32, &'static str),
    /// The customer tries again, which makes a charge of its own.
    TryAgain,
    CapturePercent(i64),
    RefundPercent(i64),
    /// How the dispute will end.
    Verdict(&'static str),
}

/// The one method that a payment of the sampler offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Card,
    CardPresent,
    SepaDebit,
}

impl Method {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::CardPresent => "card_present",
            Self::SepaDebit => "sepa_debit",
        }
    }
}

pub(super) fn method_of(event_type: &str) -> Method {
    match event_type {
        "payment_intent.processing" | "charge.pending" => Method::SepaDebit,
        "checkout.session.async_payment_succeeded" | "checkout.session.async_payment_failed" => Method::SepaDebit,
        reader if reader.starts_with("terminal.") => Method::CardPresent,
        _ => Method::Card,
    }
}

const DAY: u32 = 86_400;

use Step::{CapturePercent, RefundPercent, Send, TryAgain, Verdict};

const SUCCESS: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(31, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
    Send(3, "charge.updated"),
];

const FAIL_THEN_SUCCESS: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(24, "charge.failed"),
    Send(0, "payment_intent.payment_failed"),
    TryAgain,
    Send(47, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
];

const DECLINED: &[Step] =
    &[Send(0, "payment_intent.created"), Send(24, "charge.failed"), Send(1, "payment_intent.payment_failed")];

const THREE_D_SECURE: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(19, "payment_intent.requires_action"),
    Send(42, "charge.succeeded"),
    Send(1, "payment_intent.succeeded"),
];

const MANUAL_CAPTURE: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(28, "charge.succeeded"),
    Send(0, "payment_intent.amount_capturable_updated"),
    Send(DAY, "charge.captured"),
    Send(0, "payment_intent.succeeded"),
];

const PARTIAL_CAPTURE: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(28, "charge.succeeded"),
    Send(0, "payment_intent.amount_capturable_updated"),
    CapturePercent(80),
    Send(DAY, "charge.captured"),
    Send(0, "payment_intent.succeeded"),
];

const BANK_DEBIT: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(35, "charge.pending"),
    Send(0, "payment_intent.processing"),
    Send(4 * DAY, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
];

const CANCELED: &[Step] = &[Send(0, "payment_intent.created"), Send(3_600, "payment_intent.canceled")];

const FULL_REFUND: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(31, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
    RefundPercent(100),
    Send(2 * DAY, "refund.created"),
    Send(0, "charge.refunded"),
    Send(4, "refund.updated"),
    Send(0, "charge.refund.updated"),
];

const PARTIAL_REFUNDS: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(31, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
    RefundPercent(20),
    Send(DAY, "refund.created"),
    Send(0, "charge.refunded"),
    RefundPercent(30),
    Send(0, "refund.created"), // Two refunds within one second.
    Send(0, "charge.refunded"),
];

const REFUND_FAILS: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(31, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
    RefundPercent(100),
    Send(DAY, "refund.created"),
    Send(0, "charge.refunded"),
    Send(5 * DAY, "refund.failed"),
    Send(0, "charge.refund.updated"),
];

const DISPUTE_WON: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(31, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
    Verdict("won"),
    Send(20 * DAY, "charge.dispute.created"),
    Send(0, "charge.dispute.funds_withdrawn"),
    Send(3 * DAY, "charge.dispute.updated"),
    Send(50 * DAY, "charge.dispute.closed"),
    Send(0, "charge.dispute.funds_reinstated"),
];

const DISPUTE_LOST: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(31, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
    Verdict("lost"),
    Send(20 * DAY, "charge.dispute.created"),
    Send(0, "charge.dispute.funds_withdrawn"),
    Send(21 * DAY, "charge.dispute.closed"),
];

const CHECKOUT: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(31, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
    Send(0, "checkout.session.completed"),
];

const TERMINAL: &[Step] = &[
    Send(0, "payment_intent.created"),
    Send(9, "charge.succeeded"),
    Send(0, "payment_intent.succeeded"),
    Send(0, "terminal.reader.action_succeeded"),
];

impl LifeKind {
    pub const ALL: [Self; 15] = [
        Self::Success,
        Self::FailThenSuccess,
        Self::Declined,
        Self::ThreeDSecure,
        Self::ManualCapture,
        Self::PartialCapture,
        Self::BankDebit,
        Self::Canceled,
        Self::FullRefund,
        Self::PartialRefunds,
        Self::RefundFails,
        Self::DisputeWon,
        Self::DisputeLost,
        Self::Checkout,
        Self::Terminal,
    ];

    /// How many of a hundred payments, about, go this way.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Success => 44,
            Self::Checkout => 12,
            Self::ThreeDSecure => 8,
            Self::FailThenSuccess => 7,
            Self::Declined | Self::Terminal => 5,
            Self::ManualCapture | Self::FullRefund => 4,
            Self::BankDebit | Self::Canceled => 3,
            Self::PartialRefunds => 2,
            Self::PartialCapture | Self::RefundFails | Self::DisputeWon | Self::DisputeLost => 1,
        }
    }

    /// What the payment comes to once all of it is known.
    pub const fn expected(self) -> (PaymentStatus, DisputeStatus) {
        match self {
            Self::Declined => (PaymentStatus::Failed, DisputeStatus::None),
            Self::Canceled => (PaymentStatus::Canceled, DisputeStatus::None),
            Self::FullRefund => (PaymentStatus::Refunded, DisputeStatus::None),
            Self::PartialRefunds => (PaymentStatus::PartiallyRefunded, DisputeStatus::None),
            Self::DisputeWon => (PaymentStatus::Paid, DisputeStatus::Won),
            Self::DisputeLost => (PaymentStatus::Paid, DisputeStatus::Lost),
            Self::Success
            | Self::FailThenSuccess
            | Self::ThreeDSecure
            | Self::ManualCapture
            | Self::PartialCapture
            | Self::BankDebit
            | Self::RefundFails
            | Self::Checkout
            | Self::Terminal => (PaymentStatus::Paid, DisputeStatus::None),
        }
    }

    pub(super) const fn captures_manually(self) -> bool {
        matches!(self, Self::ManualCapture | Self::PartialCapture)
    }

    pub(super) const fn method(self) -> Method {
        match self {
            Self::BankDebit => Method::SepaDebit,
            Self::Terminal => Method::CardPresent,
            _ => Method::Card,
        }
    }

    pub(super) const fn steps(self) -> &'static [Step] {
        match self {
            Self::Success => SUCCESS,
            Self::FailThenSuccess => FAIL_THEN_SUCCESS,
            Self::Declined => DECLINED,
            Self::ThreeDSecure => THREE_D_SECURE,
            Self::ManualCapture => MANUAL_CAPTURE,
            Self::PartialCapture => PARTIAL_CAPTURE,
            Self::BankDebit => BANK_DEBIT,
            Self::Canceled => CANCELED,
            Self::FullRefund => FULL_REFUND,
            Self::PartialRefunds => PARTIAL_REFUNDS,
            Self::RefundFails => REFUND_FAILS,
            Self::DisputeWon => DISPUTE_WON,
            Self::DisputeLost => DISPUTE_LOST,
            Self::Checkout => CHECKOUT,
            Self::Terminal => TERMINAL,
        }
    }
}
