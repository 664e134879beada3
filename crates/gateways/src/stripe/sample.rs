//! Lifelike events: what Stripe sends over the life of a payment, made from a seed
//! alone. For `trigger`, `simulate`, the demo, the load generator and tests.

mod ids;
mod life;
mod scene;
mod template;

use domain::money::Minor;
use domain::{Currency, DisputeStatus, PaymentStatus, Timestamp};

pub use life::LifeKind;

use ids::Ids;
use life::Step;
use scene::Scene;

/// The types that [`Sampler::single`] makes.
pub const TYPES: &[&str] = &[
    "payment_intent.created",
    "payment_intent.requires_action",
    "payment_intent.processing",
    "payment_intent.amount_capturable_updated",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "charge.pending",
    "charge.succeeded",
    "charge.failed",
    "charge.captured",
    "charge.expired",
    "charge.updated",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "terminal.reader.action_succeeded",
    "terminal.reader.action_failed",
];

/// An event as Stripe would send it; unsigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleEvent {
    pub id: String,
    pub event_type: &'static str,
    pub created_at: Timestamp,
    pub body: String,
}

/// What to say instead of what the sampler would make up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub amount: Option<Minor>,
    pub currency: Option<Currency>,
    /// These four go into the metadata under their own names.
    pub order_id: Option<String>,
    pub payment_id: Option<String>,
    pub transaction_id: Option<String>,
    pub booking_id: Option<String>,
    pub payment_intent: Option<String>,
    pub charge: Option<String>,
    pub session: Option<String>,
    /// The status of a single event's object, whether it suits the type or not.
    pub status: Option<String>,
    pub livemode: bool,
    /// Names no order where `order_id` names none.
    pub no_made_up_order: bool,
}

/// All events of one payment, in the order in which they happened, and what they
/// come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub kind: LifeKind,
    pub payment_intent: String,
    pub order_id: String,
    pub amount: Minor,
    pub currency: Currency,
    pub events: Vec<SampleEvent>,
    pub expected: PaymentStatus,
    pub expected_dispute: DisputeStatus,
    pub amount_captured: Minor,
    pub amount_refunded: Minor,
}

/// Makes events. The same seed and the same calls give the same bytes.
#[derive(Debug)]
pub struct Sampler {
    rng: fastrand::Rng,
    ids: Ids,
    orders: u64,
}

impl Sampler {
    pub fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ids = Ids::new(&mut rng);
        let orders = rng.u64(1_000..900_000);
        Self { rng, ids, orders }
    }

    /// The life of one payment, as common as it is in a shop.
    pub fn any_life(&mut self, start: Timestamp) -> Life {
        let total: u32 = LifeKind::ALL.iter().map(|kind| kind.weight()).sum();
        let mut ticket = self.rng.u32(..total);
        let drawn = LifeKind::ALL.iter().copied().find(|kind| match ticket.checked_sub(kind.weight()) {
            Some(rest) => {
                ticket = rest;
                false
            }
            None => true,
        });
        self.life(drawn.unwrap_or(LifeKind::Success), start, &Overrides::default())
    }

    /// A life of this kind. `overrides.status` does not apply.
    pub fn life(&mut self, kind: LifeKind, start: Timestamp, overrides: &Overrides) -> Life {
        let mut at = Timestamp::from_seconds(start.seconds());
        let mut scene = Scene::new(self, at, kind.method(), overrides);
        scene.capture_manually = kind.captures_manually();
        let mut events = Vec::new();
        for step in kind.steps() {
            match *step {
                Step::Send(delay_seconds, event_type) => {
                    at = at.plus_micros(i64::from(delay_seconds) * 1_000_000);
                    scene.reach(event_type, at);
                    events.push(scene.event(&mut self.ids, event_type, at));
                }
                Step::TryAgain => scene.try_again(&mut self.ids, at),
                Step::CapturePercent(percent) => scene.capture_of(percent),
                Step::RefundPercent(percent) => scene.refund_of(&mut self.ids, percent, at),
                Step::Verdict(status) => scene.verdict = status,
            }
        }
        let (expected, expected_dispute) = kind.expected();
        Life {
            kind,
            payment_intent: scene.intent.clone(),
            order_id: scene.order_id.clone(),
            amount: scene.amount,
            currency: scene.currency,
            events,
            expected,
            expected_dispute,
            amount_captured: scene.amount_received,
            amount_refunded: scene.amount_returned,
        }
    }

    /// One event of this type, about a payment that got as far as to cause it.
    /// `None` for a type that is not among [`TYPES`].
    pub fn single(&mut self, event_type: &str, at: Timestamp, overrides: &Overrides) -> Option<SampleEvent> {
        let event_type = TYPES.iter().copied().find(|known| *known == event_type)?;
        let at = Timestamp::from_seconds(at.seconds());
        let mut scene = Scene::new(self, at, life::method_of(event_type), overrides);
        scene.capture_manually =
            matches!(event_type, "payment_intent.amount_capturable_updated" | "charge.captured" | "charge.expired");
        if event_type.contains("refund") {
            scene.refund_of(&mut self.ids, 100, at);
        }
        scene.reach(event_type, at);
        if let Some(status) = &overrides.status {
            scene.overrule(event_type, status);
        }
        Some(scene.event(&mut self.ids, event_type, at))
    }

    fn next_order_id(&mut self) -> String {
        self.orders += 1;
        self.orders.to_string()
    }

    /// Mostly dollars and euros; some without decimals and some with three.
    fn currency(&mut self) -> Currency {
        const CODES: [&str; 10] = ["USD", "USD", "USD", "EUR", "EUR", "EUR", "GBP", "GBP", "JPY", "KWD"];
        let code = CODES[self.rng.usize(..CODES.len())];
        Currency::parse(code).unwrap_or_else(|| unreachable!("{code} is a currency code"))
    }

    /// A price as shops have them. The last digit of three decimals has to be zero.
    fn amount(&mut self, currency: Currency) -> Minor {
        let whole = self.rng.i64(5..250);
        let units = match currency.decimals() {
            0 => whole * 100,
            3 => whole * 1_000 + 500,
            _ => whole * 100 + [0, 50, 95, 99][self.rng.usize(..4)],
        };
        Minor::new(units).unwrap_or_default()
    }
}
