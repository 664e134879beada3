//! A store of a test's own, lifelike events for it, and waiting without hoping.

use std::ops::Deref;
use std::time::Duration;

use domain::{AccountId, Timestamp};
use engine::{Clock, Engine};
use gateways::stripe::sample::{Overrides, SampleEvent, Sampler};
use store::{EventFilter, EventRow, NewEvent, Store};
use testdb::{Database, Locked};

/// 2025-11-20T16:00:00Z
pub const NOW: Timestamp = Timestamp::from_seconds(1_763_654_400);
const DEADLINE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub struct Scratch {
    store: Store,
    pub clock: Clock,
    database: Database,
}

impl Deref for Scratch {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Scratch {
    pub async fn new() -> Self {
        Self::on(crate::database().await).await
    }

    pub async fn on(database: Database) -> Self {
        let store = Store::open(database.url()).await.expect("it opens");
        store.migrate().await.expect("it migrates");
        Self { store, clock: Clock::manual(NOW), database }
    }

    /// The same database as another process sees it.
    pub async fn opened_again(&self) -> Store {
        Store::open(self.database.url()).await.expect("it opens again")
    }

    /// As after a crash: another process on the same database.
    pub async fn restarted(self) -> Self {
        self.store.close().await;
        let store = self.opened_again().await;
        Self { store, ..self }
    }

    pub fn engine(&self) -> Engine {
        Engine::start(self.store.clone(), self.clock.clone())
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Runs a statement as somebody would who has the database.
    pub async fn tamper(&self, sql: &str) {
        assert!(self.database.execute(sql).await > 0, "{sql} changed nothing");
    }

    /// A query's rows, each as text.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        self.database.rows(sql).await.iter().map(|row| row.join(" ")).collect()
    }

    /// Nobody else can write as long as this lives.
    pub async fn locked(&self) -> Locked {
        self.database.locked().await
    }

    pub async fn accepted(&self, batch: &[NewEvent], now: Timestamp) {
        self.accept(batch.to_vec(), now).await.expect("it accepts");
    }

    /// Applies in this task whatever is due at the clock's time.
    pub async fn apply_all(&self) {
        while engine::apply::apply_due(&self.store, &self.clock).await.expect("it applies") > 0 {}
    }

    /// Waits until a running engine has nothing left to do.
    pub async fn settled(&self) {
        let idle = async || self.backlog().await.expect("it answers").events == 0;
        let last_look = async || {
            let pending = "SELECT event_id, state, attempts, error FROM event WHERE due_at IS NOT NULL LIMIT 5";
            format!("still to be applied: {:#?}", self.rows(pending).await)
        };
        until(idle, last_look).await;
    }

    pub async fn event(&self, event_id: &str) -> EventRow {
        let filter = EventFilter { event_id: Some(event_id.to_owned()), ..EventFilter::default() };
        self.list_events(&filter, 1).await.expect("it lists").pop().unwrap_or_else(|| panic!("no event {event_id}"))
    }

    /// State as people see it, without times and row numbers.
    pub async fn state(&self) -> Vec<String> {
        let mut state = Vec::new();
        for row in self.list_payments(&Default::default(), 100_000).await.expect("it lists") {
            state.push(format!("{} {} {} {:?}", row.account, row.gateway, row.mode, row.payment));
        }
        for order in self.list_orders(None, None, 100_000).await.expect("it lists") {
            let (status, currency) = (order.payment_status, order.currency);
            state.push(format!("{} {status} {currency:?} {} {}", order.id, order.amount_paid, order.amount_refunded));
        }
        let refunds = "SELECT account, id, payment_id, gateway_refund_id, charge_id, status, amount, currency, reason,
                              failure_reason FROM refunds";
        let disputes = "SELECT account, id, payment_id, gateway_dispute_id, charge_id, status, stage, amount, currency,
                               reason, net, due_by FROM disputes";
        state.extend(self.rows(refunds).await);
        state.extend(self.rows(disputes).await);
        state.sort();
        state
    }
}

/// Looks until `done`; fails with what `last_look` says when it takes too long.
pub async fn until(done: impl AsyncFn() -> bool, last_look: impl AsyncFn() -> String) {
    let mut look_again = tokio::time::interval(LOOK_AGAIN);
    let looking = async {
        while !done().await {
            look_again.tick().await;
        }
    };
    if tokio::time::timeout(DEADLINE, looking).await.is_err() {
        panic!("not after {DEADLINE:?}: {}", last_look().await);
    }
}

/// As the server would hand it in.
pub fn delivery(body: &str) -> NewEvent {
    let envelope = gateways::stripe::envelope(body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"));
    NewEvent::new(
        AccountId::default(),
        "stripe",
        envelope.mode,
        envelope.connected_account.unwrap_or_default(),
        envelope.event_id,
        envelope.event_type,
        envelope.api_version,
        envelope.created_at,
        "/payments/webhook".to_owned(),
        true,
        None,
        NOW,
        body.to_owned(),
    )
}

/// An event about a payment intent of this name.
pub fn about(sampler: &mut Sampler, event_type: &str, intent: &str) -> NewEvent {
    let overrides = Overrides { payment_intent: Some(intent.to_owned()), ..Overrides::default() };
    delivery(&sampler.single(event_type, NOW, &overrides).expect("a known type").body)
}

/// All events of so many payments, in the order in which they happened.
pub fn lives(seed: u64, payments: usize) -> Vec<SampleEvent> {
    let mut sampler = Sampler::new(seed);
    (0..payments).flat_map(|_| sampler.any_life(NOW).events).collect()
}

/// Out of order, a third of them twice.
pub fn as_gateways_deliver(events: &[SampleEvent], seed: u64) -> Vec<NewEvent> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut deliveries: Vec<NewEvent> = events.iter().map(|event| delivery(&event.body)).collect();
    let twice: Vec<NewEvent> = deliveries.iter().filter(|_| rng.u8(..3) == 0).cloned().collect();
    deliveries.extend(twice);
    rng.shuffle(&mut deliveries);
    deliveries
}
