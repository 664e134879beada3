//! One made-up payment with all its objects, as they stand at a moment.

use domain::money::Minor;
use domain::{Currency, Timestamp};

use super::ids::Ids;
use super::life::Method;
use super::template::{CHARGE, DISPUTE, EVENT, INTENT, READER, REFUND, SESSION, Template, Values, object, quoted};
use super::{Overrides, SampleEvent, Sampler};

const NAMES: [(&str, &str); 6] = [
    ("Maud de Vries", "maud.devries@example.com"),
    ("Tomasz Nowak", "tomasz.nowak@example.org"),
    ("Aiko Tanaka", "aiko.tanaka@example.net"),
    ("Grace O'Neill", "grace.oneill@example.com"),
    ("Luís Ferreira", "luis.ferreira@example.org"),
    ("Zofia \"Zosia\" Kowal", "zosia.kowal@example.net"),
];

const DISPUTE_FEE: i64 = 1500;
const DAYS_TO_ANSWER: i64 = 9;
const DECLINE_CODE: &str = "card_declined";
const DECLINE_REASON: &str = "insufficient_funds";
const DECLINE_MESSAGE: &str = "Your card has insufficient funds.";

pub(super) struct Scene {
    pub(super) intent: String,
    pub(super) order_id: String,
    pub(super) amount: Minor,
    pub(super) currency: Currency,
    pub(super) capture_manually: bool,
    pub(super) amount_received: Minor,
    /// Refunded and not failed since.
    pub(super) amount_returned: Minor,
    /// With which status the dispute will close.
    pub(super) verdict: &'static str,
    livemode: bool,
    method: Method,
    created_at: Timestamp,
    metadata: Vec<(&'static str, String)>,
    customer: String,
    customer_name: &'static str,
    email: &'static str,
    payment_method: String,
    request: String,
    configuration: String,

    intent_status: String,
    amount_capturable: Minor,
    canceled_at: Option<Timestamp>,

    charge: String,
    charged_at: Option<Timestamp>,
    charge_status: String,
    captured: bool,
    amount_to_capture: Minor,
    /// As Stripe counts it: what a partial capture releases is in it too.
    amount_refunded: Minor,
    has_balance_transaction: bool,
    disputed: bool,

    refund: String,
    refund_amount: Minor,
    refund_status: String,
    refunded_at: Timestamp,

    dispute: String,
    dispute_status: String,
    disputed_at: Timestamp,
    dispute_transactions: Vec<(String, i64)>,

    session: String,
    session_status: String,
    session_is_paid: bool,

    reader: String,
    reader_status: String,
}

impl Scene {
    pub(super) fn new(sampler: &mut Sampler, at: Timestamp, method: Method, overrides: &Overrides) -> Self {
        let order_id = overrides.order_id.clone().unwrap_or_else(|| sampler.next_order_id());
        let currency = overrides.currency.unwrap_or_else(|| sampler.currency());
        let amount = overrides.amount.unwrap_or_else(|| sampler.amount(currency));
        let (customer_name, email) = NAMES[sampler.rng.usize(..NAMES.len())];
        let ids = &mut sampler.ids;
        // A session that the caller knows is found by its id: an order made up would say
        // that it is for something else.
        let names_order = overrides.order_id.is_some() || (overrides.session.is_none() && !overrides.no_made_up_order);
        let mut metadata: Vec<_> = names_order.then(|| ("order_id", order_id.clone())).into_iter().collect();
        metadata.extend(overrides.payment_id.clone().map(|id| ("payment_id", id)));
        metadata.extend(overrides.transaction_id.clone().map(|id| ("transaction_id", id)));
        metadata.extend(overrides.booking_id.clone().map(|id| ("booking_id", id)));
        metadata.push(("cart_id", ids.random("cart_", 16)));
        metadata.push(("channel", "web".to_owned()));
        let session_prefix = if overrides.livemode { "cs_live_a1" } else { "cs_test_a1" };
        Self {
            intent: overrides.payment_intent.clone().unwrap_or_else(|| ids.of_payment("pi", at)),
            charge: overrides.charge.clone().unwrap_or_else(|| ids.of_payment("ch", at)),
            session: overrides.session.clone().unwrap_or_else(|| ids.random(session_prefix, 56)),
            dispute: ids.alone("du", at),
            refund: ids.of_payment("re", at),
            reader: ids.random("tmr_", 14),
            customer: ids.random("cus_", 14),
            payment_method: ids.alone("pm", at),
            request: ids.random("req_", 14),
            configuration: ids.alone("pmc", Timestamp::from_seconds(1_735_689_600)),
            order_id,
            amount,
            currency,
            capture_manually: false,
            amount_received: Minor::ZERO,
            amount_returned: Minor::ZERO,
            verdict: "won",
            livemode: overrides.livemode,
            method,
            created_at: at,
            metadata,
            customer_name,
            email,
            intent_status: "requires_payment_method".to_owned(),
            amount_capturable: Minor::ZERO,
            canceled_at: None,
            charged_at: None,
            charge_status: "succeeded".to_owned(),
            captured: false,
            amount_to_capture: amount,
            amount_refunded: Minor::ZERO,
            has_balance_transaction: false,
            disputed: false,
            refund_amount: Minor::ZERO,
            refund_status: "succeeded".to_owned(),
            refunded_at: at,
            dispute_status: "needs_response".to_owned(),
            disputed_at: at,
            dispute_transactions: Vec::new(),
            session_status: "complete".to_owned(),
            session_is_paid: true,
            reader_status: "succeeded".to_owned(),
        }
    }

    /// Moves everything to where an event of this type finds it.
    pub(super) fn reach(&mut self, event_type: &'static str, at: Timestamp) {
        match event_type {
            "payment_intent.requires_action" => self.intent_status = "requires_action".to_owned(),
            "payment_intent.processing" => self.charge("pending", "processing", at),
            "payment_intent.amount_capturable_updated" => self.authorize(at),
            "payment_intent.payment_failed" | "charge.failed" => self.charge("failed", "requires_payment_method", at),
            "payment_intent.canceled" => self.cancel(at),
            "charge.pending" => self.charge("pending", "processing", at),
            "charge.succeeded" if self.capture_manually => self.authorize(at),
            "charge.expired" => self.expire(at),
            "checkout.session.expired" => {
                self.session_status = "expired".to_owned();
                self.session_is_paid = false;
            }
            "checkout.session.async_payment_failed" => {
                self.charge("failed", "requires_payment_method", at);
                self.session_is_paid = false;
            }
            "terminal.reader.action_failed" => {
                self.charge("failed", "requires_payment_method", at);
                self.reader_status = "failed".to_owned();
            }
            "payment_intent.created" => {}
            dispute if dispute.starts_with("charge.dispute.") => self.dispute(dispute, at),
            "refund.failed" => {
                self.succeed(at);
                self.fail_refund();
            }
            _ => self.succeed(at),
        }
        if event_type == "charge.updated" {
            self.has_balance_transaction = true; // Captured in the background: it is known a little later.
        }
    }

    fn charge(&mut self, charge_status: &str, intent_status: &str, at: Timestamp) {
        self.charged_at.get_or_insert(at);
        self.charge_status = charge_status.to_owned();
        self.intent_status = intent_status.to_owned();
    }

    fn authorize(&mut self, at: Timestamp) {
        self.charge("succeeded", "requires_capture", at);
        self.amount_capturable = self.amount;
    }

    fn succeed(&mut self, at: Timestamp) {
        self.charge("succeeded", "succeeded", at);
        if !self.captured {
            self.captured = true;
            self.amount_capturable = Minor::ZERO;
            self.amount_received = self.amount_to_capture;
            self.amount_refunded = self.amount_refunded.plus(self.amount.less(self.amount_to_capture));
        }
    }

    fn expire(&mut self, at: Timestamp) {
        self.authorize(at);
        self.cancel(at);
        self.amount_refunded = self.amount;
    }

    fn cancel(&mut self, at: Timestamp) {
        self.intent_status = "canceled".to_owned();
        self.canceled_at = Some(at);
        self.amount_capturable = Minor::ZERO;
    }

    pub(super) fn try_again(&mut self, ids: &mut Ids, at: Timestamp) {
        self.charge = ids.of_payment("ch", self.created_at);
        self.payment_method = ids.alone("pm", at);
        self.charged_at = None;
    }

    pub(super) fn capture_of(&mut self, percent: i64) {
        self.amount_to_capture = part(self.amount, percent);
    }

    /// A further refund, of money that was captured.
    pub(super) fn refund_of(&mut self, ids: &mut Ids, percent: i64, at: Timestamp) {
        self.succeed(at);
        self.refund = ids.of_payment("re", self.created_at);
        self.refund_amount = part(self.amount_received, percent);
        self.refund_status = "succeeded".to_owned();
        self.refunded_at = at;
        self.amount_returned = self.amount_returned.plus(self.refund_amount);
        self.amount_refunded = self.amount_refunded.plus(self.refund_amount);
    }

    /// Stripe takes a refund that failed off what it counts as refunded.
    fn fail_refund(&mut self) {
        self.refund_status = "failed".to_owned();
        self.amount_returned = self.amount_returned.less(self.refund_amount);
        self.amount_refunded = self.amount_refunded.less(self.refund_amount);
    }

    fn dispute(&mut self, event_type: &str, at: Timestamp) {
        self.succeed(at);
        if !self.disputed {
            self.disputed = true;
            self.disputed_at = at;
            let withdrawn = (-self.amount.units()).saturating_sub(DISPUTE_FEE);
            self.dispute_transactions.push((format!("txn_1{}", tail(&self.dispute)), withdrawn));
        }
        match event_type {
            "charge.dispute.updated" => self.dispute_status = "under_review".to_owned(),
            "charge.dispute.closed" => self.dispute_status = self.verdict.to_owned(),
            "charge.dispute.funds_reinstated" => {
                self.dispute_status = self.verdict.to_owned();
                let returned = self.amount.units().saturating_add(DISPUTE_FEE);
                self.dispute_transactions.push((format!("txn_2{}", tail(&self.dispute)), returned));
            }
            _ => {}
        }
    }

    /// Gives the object of such an event another status than it would have.
    pub(super) fn overrule(&mut self, event_type: &str, status: &str) {
        let field = match Subject::of(event_type) {
            Subject::Intent => &mut self.intent_status,
            Subject::Charge => &mut self.charge_status,
            Subject::Refund => &mut self.refund_status,
            Subject::Dispute => &mut self.dispute_status,
            Subject::Session => &mut self.session_status,
            Subject::Reader => &mut self.reader_status,
        };
        status.clone_into(field);
    }

    /// What Stripe would send about it now.
    pub(super) fn event(&self, ids: &mut Ids, event_type: &'static str, at: Timestamp) -> SampleEvent {
        let subject = Subject::of(event_type);
        let id = match subject {
            Subject::Session | Subject::Reader | Subject::Dispute => ids.alone("evt", at),
            Subject::Intent | Subject::Charge | Subject::Refund => ids.of_payment("evt", self.created_at),
        };
        let (template, values): (&Template, Values) = match subject {
            Subject::Intent => (&INTENT, self.intent_values()),
            Subject::Charge => (&CHARGE, self.charge_values()),
            Subject::Refund => (&REFUND, self.refund_values()),
            Subject::Dispute => (&DISPUTE, self.dispute_values()),
            Subject::Session => (&SESSION, self.session_values()),
            Subject::Reader => (&READER, self.reader_values(at)),
        };
        let body = EVENT.fill(&vec![
            ("id", quoted(&id)),
            ("created", seconds(at)),
            ("data", format!("{{\n    \"object\": {}\n  }}", template.fill(&values))),
            ("livemode", self.livemode.to_string()),
            ("request", quoted(&self.request)),
            ("idempotency_key", quoted(&format!("order-{}", self.order_id))),
            ("type", quoted(event_type)),
        ]);
        SampleEvent { id, event_type, created_at: at, body }
    }

    fn intent_values(&self) -> Values {
        let mut values = self.common_values(&self.intent, self.amount, &self.intent_status, self.created_at);
        values.extend([
            ("amount_capturable", minor(self.amount_capturable)),
            (
                "amount_received",
                minor(if self.intent_status == "succeeded" { self.amount_received } else { Minor::ZERO }),
            ),
            ("capture_method", quoted(if self.capture_manually { "manual" } else { "automatic_async" })),
            ("client_secret", quoted(&format!("{}_secret_{}", self.intent, tail(&self.payment_method)))),
            ("configuration", quoted(&self.configuration)),
            ("customer", quoted(&self.customer)),
            ("customer_name", quoted(self.customer_name)),
            ("description", quoted(&self.description())),
            ("livemode", self.livemode.to_string()),
            ("metadata", self.metadata()),
            ("method", quoted(self.method.as_str())),
            ("receipt_email", quoted(self.email)),
        ]);
        if let Some(at) = self.canceled_at {
            values.extend([("canceled_at", seconds(at)), ("cancellation_reason", quoted("requested_by_customer"))]);
        }
        if self.charged_at.is_some() {
            values.push(("latest_charge", quoted(&self.charge)));
        }
        match &*self.intent_status {
            "requires_payment_method" if self.charged_at.is_some() => {
                values.push(("last_payment_error", self.payment_error()));
            }
            "requires_payment_method" => {}
            "requires_action" => {
                values.push((
                    "next_action",
                    r#"{"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}"#.to_owned(),
                ));
                values.push(("payment_method", quoted(&self.payment_method)));
            }
            _ => values.push(("payment_method", quoted(&self.payment_method))),
        }
        values
    }

    fn payment_error(&self) -> String {
        object(&[
            ("charge", quoted(&self.charge)),
            ("code", quoted(DECLINE_CODE)),
            ("decline_code", quoted(DECLINE_REASON)),
            ("doc_url", quoted("https://stripe.com/docs/error-codes/card-declined")),
            ("message", quoted(DECLINE_MESSAGE)),
            ("type", quoted("card_error")),
        ])
    }

    fn charge_values(&self) -> Values {
        let failed = self.charge_status == "failed";
        let charged_at = self.charged_at.unwrap_or(self.created_at);
        let mut values = self.common_values(&self.charge, self.amount, &self.charge_status, charged_at);
        values.extend([
            ("amount_captured", minor(if self.captured { self.amount_received } else { Minor::ZERO })),
            ("amount_refunded", minor(self.amount_refunded)),
            ("captured", self.captured.to_string()),
            ("customer", quoted(&self.customer)),
            ("customer_name", quoted(self.customer_name)),
            ("description", quoted(&self.description())),
            ("disputed", self.disputed.to_string()),
            ("livemode", self.livemode.to_string()),
            ("metadata", self.metadata()),
            ("method", quoted(self.method.as_str())),
            ("network_status", quoted(if failed { "declined_by_network" } else { "approved_by_network" })),
            ("outcome", quoted(if failed { "issuer_declined" } else { "authorized" })),
            ("paid", (self.charge_status == "succeeded").to_string()),
            ("payment_intent", quoted(&self.intent)),
            ("payment_method", quoted(&self.payment_method)),
            ("receipt_email", quoted(self.email)),
            ("refunded", (self.amount_refunded >= self.amount).to_string()),
            ("seller_message", quoted(if failed { "The bank declined the payment." } else { "Payment complete." })),
        ]);
        if failed {
            values.extend([("failure_code", quoted(DECLINE_CODE)), ("failure_message", quoted(DECLINE_MESSAGE))]);
        } else {
            values.push(("receipt_url", quoted(&format!("https://pay.stripe.com/receipts/{}", tail(&self.charge)))));
        }
        if self.has_balance_transaction {
            values.push(("balance_transaction", quoted(&format!("txn_3{}", tail(&self.charge)))));
        }
        values
    }

    fn refund_values(&self) -> Values {
        let mut values = self.common_values(&self.refund, self.refund_amount, &self.refund_status, self.refunded_at);
        values.extend([
            ("balance_transaction", quoted(&format!("txn_3{}", tail(&self.refund)))),
            ("charge", quoted(&self.charge)),
            ("payment_intent", quoted(&self.intent)),
        ]);
        if self.refund_status == "failed" {
            values.extend([
                ("failure_balance_transaction", quoted(&format!("txn_1{}", tail(&self.refund)))),
                ("failure_reason", quoted("lost_or_stolen_card")),
            ]);
        }
        values
    }

    fn dispute_values(&self) -> Values {
        let answered = self.dispute_status != "needs_response";
        let mut values = self.common_values(&self.dispute, self.amount, &self.dispute_status, self.disputed_at);
        let transactions = self.dispute_transactions.iter().map(|(id, net)| {
            let id = quoted(id);
            let fee = if *net < 0 { DISPUTE_FEE } else { -DISPUTE_FEE };
            let amount = net.saturating_add(fee);
            format!(
                r#"{{"id": {id}, "object": "balance_transaction", "amount": {amount}, "fee": {fee}, "net": {net}}}"#
            )
        });
        values.extend([
            ("balance_transactions", format!("[{}]", transactions.collect::<Vec<_>>().join(", "))),
            ("charge", quoted(&self.charge)),
            ("customer_name", quoted(self.customer_name)),
            ("description", quoted(&self.description())),
            ("due_by", seconds(self.disputed_at.plus_micros(DAYS_TO_ANSWER * 86_400_000_000))),
            ("has_evidence", answered.to_string()),
            ("livemode", self.livemode.to_string()),
            ("payment_intent", quoted(&self.intent)),
            ("receipt_email", quoted(self.email)),
            ("submission_count", u8::from(answered).to_string()),
        ]);
        values
    }

    fn client_reference(&self) -> String {
        let order = self.metadata.iter().find(|(key, _)| *key == "order_id");
        order.map_or_else(|| "null".to_owned(), |(_, id)| quoted(id))
    }

    fn session_values(&self) -> Values {
        let mut values = self.common_values(&self.session, self.amount, &self.session_status, self.created_at);
        values.extend([
            ("client_reference_id", self.client_reference()),
            ("configuration", quoted(&self.configuration)),
            ("customer", quoted(&self.customer)),
            ("customer_name", quoted(self.customer_name)),
            ("expires_at", seconds(self.created_at.plus_micros(86_400_000_000))),
            ("livemode", self.livemode.to_string()),
            ("metadata", self.metadata()),
            ("method", quoted(self.method.as_str())),
            ("payment_status", quoted(if self.session_is_paid { "paid" } else { "unpaid" })),
            ("receipt_email", quoted(self.email)),
        ]);
        if self.session_status != "expired" {
            values.push(("payment_intent", quoted(&self.intent)));
        }
        values
    }

    fn reader_values(&self, at: Timestamp) -> Values {
        let mut values: Values = vec![
            ("id", quoted(&self.reader)),
            ("last_seen_at", at.seconds().saturating_mul(1_000).to_string()),
            ("livemode", self.livemode.to_string()),
            ("location", quoted(&format!("tml_{}", tail(&self.reader)))),
            ("payment_intent", quoted(&self.intent)),
            ("status", quoted(&self.reader_status)),
        ];
        if self.reader_status == "failed" {
            values.extend([("failure_code", quoted(DECLINE_CODE)), ("failure_message", quoted(DECLINE_MESSAGE))]);
        }
        values
    }

    fn common_values(&self, id: &str, amount: Minor, status: &str, created_at: Timestamp) -> Values {
        let currency = self.currency.code().to_ascii_lowercase();
        vec![
            ("id", quoted(id)),
            ("amount", minor(amount)),
            ("created", seconds(created_at)),
            ("currency", quoted(&currency)),
            ("status", quoted(status)),
        ]
    }

    fn metadata(&self) -> String {
        let fields: Vec<_> = self.metadata.iter().map(|(key, value)| (*key, quoted(value))).collect();
        object(&fields)
    }

    fn description(&self) -> String {
        format!("Northwind Store, order {}", self.order_id)
    }
}

#[derive(Clone, Copy)]
enum Subject {
    Intent,
    Charge,
    Refund,
    Dispute,
    Session,
    Reader,
}

impl Subject {
    fn of(event_type: &str) -> Self {
        const PREFIXES: [(&str, Subject); 6] = [
            ("charge.dispute.", Subject::Dispute),
            ("charge.refund.", Subject::Refund), // `charge.refunded` shows the charge.
            ("charge.", Subject::Charge),
            ("refund.", Subject::Refund),
            ("checkout.", Subject::Session),
            ("terminal.", Subject::Reader),
        ];
        let found = PREFIXES.iter().find(|(prefix, _)| event_type.starts_with(prefix));
        found.map_or(Self::Intent, |(_, subject)| *subject)
    }
}

fn minor(amount: Minor) -> String {
    amount.units().to_string()
}

fn seconds(at: Timestamp) -> String {
    at.seconds().to_string()
}

/// Rounded down to tens, because the last of three decimals has to be zero.
fn part(amount: Minor, percent: i64) -> Minor {
    if percent >= 100 {
        return amount;
    }
    let units = i128::from(amount.units()) * i128::from(percent) / 100 / 10 * 10;
    i64::try_from(units).ok().and_then(Minor::new).unwrap_or_default()
}

/// What follows an id's prefix and kind, for ids that belong to it.
fn tail(id: &str) -> &str {
    id.split_once('_').and_then(|(_, rest)| rest.get(1..)).unwrap_or(id)
}
