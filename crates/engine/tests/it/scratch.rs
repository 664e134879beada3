//! A store of a test's own, lifelike events for it, and waiting without hoping.

use std::ops::Deref;
use std::time::Duration;

use domain::{AccountId, Timestamp};
use engine::{Clock, Engine};
use gateways::stripe::sample::{Overrides, SampleEvent, Sampler};
use rusqlite::types::ValueRef;
use store::{EventFilter, EventRow, NewEvent, Store};
use tempfile::TempDir;

/// 2025-11-20T16:00:00Z
pub const NOW: Timestamp = Timestamp::from_seconds(1_763_654_400);
const DEADLINE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub struct Scratch {
    store: Store,
    pub clock: Clock,
    directory: TempDir,
}

impl Deref for Scratch {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Scratch {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Self::open(&directory).await;
        store.migrate().await.expect("it migrates");
        Self { store, clock: Clock::manual(NOW), directory }
    }

    async fn open(directory: &TempDir) -> Store {
        let url = format!("sqlite:{}", directory.path().join("store.db").display());
        Store::open(&url).await.expect("it opens")
    }

    /// As after a crash: another process on the same file.
    pub async fn restarted(self) -> Self {
        self.store.close().await;
        let store = Self::open(&self.directory).await;
        Self { store, ..self }
    }

    pub fn engine(&self) -> Engine {
        Engine::start(self.store.clone(), self.clock.clone())
    }

    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.directory.path().join("store.db")).expect("a second connection")
    }

    /// Runs a statement as somebody would who has the file.
    pub fn tamper(&self, sql: &str) {
        let changed = self.database().execute(sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(changed > 0, "{sql} changed nothing");
    }

    /// A query's rows, each as text.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        let database = self.database();
        let mut statement = database.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let texts: Vec<String> = (0..columns).map(|column| text_of(row.get_ref_unwrap(column))).collect();
            Ok(texts.join(" "))
        };
        let rows = statement.query_map([], row).and_then(Iterator::collect);
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Nobody else can write as long as this lives.
    pub fn locked(&self) -> rusqlite::Connection {
        let database = self.database();
        database.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
        database
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
        let last_look = || {
            let pending = "SELECT event_id, state, attempts, error FROM event WHERE due_at IS NOT NULL LIMIT 5";
            format!("still to be applied: {:#?}", self.rows(pending))
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
        state.extend(self.rows(refunds));
        state.extend(self.rows(disputes));
        state.sort();
        state
    }
}

fn text_of(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    }
}

/// Looks until `done`; fails with what `last_look` says when it takes too long.
pub async fn until(done: impl AsyncFn() -> bool, last_look: impl Fn() -> String) {
    let mut look_again = tokio::time::interval(LOOK_AGAIN);
    let looking = async {
        while !done().await {
            look_again.tick().await;
        }
    };
    if tokio::time::timeout(DEADLINE, looking).await.is_err() {
        panic!("not after {DEADLINE:?}: {}", last_look());
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
