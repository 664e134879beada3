//! A store of a test's own, and what tests put into it.

use std::ops::Deref;

use domain::lattice::Join;
use domain::{AccountId, Mode, Timestamp};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use store::{Claimed, NewEvent, Prepared, Receipt, Settled, Store};
use tempfile::TempDir;

/// Runs each test on every database. PostgreSQL will be one more line.
macro_rules! on_each {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::scratch::Scratch::sqlite().await).await;
            })+
        }
    };
}

/// 2025-11-20T16:00:00Z
pub const NOW: Timestamp = Timestamp::from_seconds(1_763_654_400);

/// So many seconds after [`NOW`].
pub const fn at(seconds: i64) -> Timestamp {
    NOW.plus_micros(seconds * 1_000_000)
}

/// A migrated store, and a second connection to its database for what only SQL can do.
pub struct Scratch {
    store: Store,
    directory: TempDir,
}

impl Deref for Scratch {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Scratch {
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&url_in(&directory)).await.expect("it opens");
        store.migrate().await.expect("it migrates");
        Self { store, directory }
    }

    pub fn url(&self) -> String {
        url_in(&self.directory)
    }

    /// The same database as another process sees it.
    pub async fn opened_again(&self) -> Store {
        Store::open(&self.url()).await.expect("it opens again")
    }

    async fn connection(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.directory.path().join("store.db")).foreign_keys(false);
        SqliteConnection::connect_with(&options).await.expect("a second connection")
    }

    /// Runs a statement as somebody would who has the file. Returns the rows it changed.
    pub async fn tamper(&self, sql: &str) -> u64 {
        self.try_tamper(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As [`Self::tamper`], or what the database says against it.
    pub async fn try_tamper(&self, sql: &str) -> Result<u64, String> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        let done = query.execute(&mut self.connection().await).await;
        done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
    }

    /// What a query returns, each value as text; null is `NULL`.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        let rows = query.fetch_all(&mut self.connection().await).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| (0..row.len()).map(|column| text_of(row, column)).collect()).collect()
    }

    pub async fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!((rows.len(), rows.first().map(Vec::len)), (1, Some(1)), "one value: {sql}");
        rows[0][0].clone()
    }

    /// Everything that the database holds, to compare it with later.
    pub async fn dump(&self) -> Vec<(String, Vec<Vec<String>>)> {
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
        let mut dump = Vec::new();
        for table in self.rows(tables).await {
            dump.push((table[0].clone(), self.rows(&format!("SELECT * FROM {} ORDER BY 1, 2", table[0])).await));
        }
        dump
    }

    pub async fn accepted(&self, batch: &[NewEvent]) -> Vec<Receipt> {
        self.accepting(batch, NOW).await.expect("it accepts")
    }

    pub async fn accepting(&self, batch: &[NewEvent], now: Timestamp) -> store::Result<Vec<Receipt>> {
        self.accept(batch.to_vec(), now).await
    }

    pub async fn claimed(&self, now: Timestamp) -> Vec<Claimed> {
        self.claim(&AccountId::default(), store::Place::START, now, 1000).await.expect("it claims")
    }

    /// Applies whatever of the default account is due, and says what became of it.
    pub async fn applied(&self, now: Timestamp) -> Vec<Settled> {
        let batch: Vec<Prepared> = self.claimed(now).await.iter().map(prepare).collect();
        self.apply(&AccountId::default(), batch.clone(), now).await.expect("it applies")
    }

    /// Accepts each event in a batch of its own and applies it.
    pub async fn lived_through(&self, batch: &[NewEvent]) {
        for event in batch {
            self.accepted(std::slice::from_ref(event)).await;
            self.applied(at(3600)).await;
        }
    }
}

fn url_in(directory: &TempDir) -> String {
    format!("sqlite:{}", directory.path().join("store.db").display())
}

fn text_of(row: &sqlx::sqlite::SqliteRow, column: usize) -> String {
    let as_text = row.try_get_unchecked::<Option<String>, _>(column).map(|text| text.unwrap_or("NULL".to_owned()));
    as_text.unwrap_or_else(|_| format!("{:?}", row.get_unchecked::<Vec<u8>, _>(column)))
}

/// What a claimed event states, all of its renderings together.
pub fn prepare(claimed: &Claimed) -> Prepared {
    let mut whole = gateways::Statement::default();
    for body in std::iter::once(&claimed.body).chain(&claimed.renderings) {
        let statement = gateways::stripe::normalise(body).expect("an event");
        whole.facts.join(statement.facts);
        whole.object_id = whole.object_id.or(statement.object_id);
        whole.needs_fetch |= statement.needs_fetch;
    }
    whole.facts.creates = claimed.creates && !whole.facts.is_empty();
    whole.facts.note_names();
    let decides = gateways::Gateway::Stripe.decides(&claimed.event_type) && whole.facts.has_statement();
    Prepared::new(claimed, whole.facts, whole.object_id, whole.needs_fetch, decides).expect("it renders")
}

pub fn account(name: &str) -> AccountId {
    AccountId::parse(name).expect(name)
}

/// A delivery with this body at the first endpoint.
pub fn delivery(event_id: &str, event_type: &str, body: impl Into<Vec<u8>>) -> NewEvent {
    NewEvent::new(
        AccountId::default(),
        "stripe",
        Mode::Test,
        String::new(),
        event_id.to_owned(),
        event_type.to_owned(),
        Some("2025-01-01".to_owned()),
        Some(NOW),
        "/payments/webhook".to_owned(),
        true,
        None,
        NOW,
        body.into(),
    )
}

/// What is of no concern to payments.
pub fn unrelated(event_id: &str) -> NewEvent {
    let body = format!(r#"{{"id":"{event_id}","object":"event","type":"customer.created","created":1763654400}}"#);
    delivery(event_id, "customer.created", body)
}

/// A payment intent, with its order where it is not empty.
pub fn intent(event_id: &str, event_type: &str, intent: &str, status: &str, order_id: &str) -> NewEvent {
    let metadata = if order_id.is_empty() { String::new() } else { format!(r#""order_id":"{order_id}""#) };
    let body = format!(
        r#"{{"id":"{event_id}","object":"event","type":"{event_type}","created":1763654400,"api_version":"2025-01-01",
            "data":{{"object":{{"id":"{intent}","object":"payment_intent","status":"{status}","amount":1999,
            "amount_received":{received},"currency":"usd","created":1763654400,"metadata":{{{metadata}}}}}}}}}"#,
        received = if status == "succeeded" { 1999 } else { 0 },
    );
    delivery(event_id, event_type, body)
}

pub fn succeeded(event_id: &str, id: &str, order_id: &str) -> NewEvent {
    intent(event_id, "payment_intent.succeeded", id, "succeeded", order_id)
}

pub fn created(event_id: &str, id: &str, order_id: &str) -> NewEvent {
    intent(event_id, "payment_intent.created", id, "requires_payment_method", order_id)
}

/// A checkout session that completed; `intent` is empty where it names none.
pub fn session(event_id: &str, id: &str, intent: &str, order_id: &str) -> NewEvent {
    let intent = if intent.is_empty() { "null".to_owned() } else { format!("\"{intent}\"") };
    let body = format!(
        r#"{{"id":"{event_id}","object":"event","type":"checkout.session.completed","created":1763654400,
            "data":{{"object":{{"id":"{id}","object":"checkout.session","status":"complete","mode":"payment",
            "payment_status":"paid","amount_total":1999,"currency":"usd","payment_intent":{intent},
            "client_reference_id":"{order_id}"}}}}}}"#
    );
    delivery(event_id, "checkout.session.completed", body)
}

/// A refund of an intent's charge.
pub fn refund(event_id: &str, id: &str, charge: &str, intent: &str, amount: i64) -> NewEvent {
    let body = format!(
        r#"{{"id":"{event_id}","object":"event","type":"refund.created","created":1763654500,
            "data":{{"object":{{"id":"{id}","object":"refund","status":"succeeded","amount":{amount},"currency":"usd",
            "charge":"{charge}","payment_intent":"{intent}","created":1763654500,"reason":"requested_by_customer"}}}}}}"#
    );
    delivery(event_id, "refund.created", body)
}

/// A dispute that is open.
pub fn dispute(event_id: &str, id: &str, charge: &str, intent: &str) -> NewEvent {
    let body = format!(
        r#"{{"id":"{event_id}","object":"event","type":"charge.dispute.created","created":1763654600,
            "data":{{"object":{{"id":"{id}","object":"dispute","status":"needs_response","amount":1999,"currency":"usd",
            "charge":"{charge}","payment_intent":"{intent}","created":1763654600,"reason":"fraudulent",
            "balance_transactions":[{{"id":"txn_1","net":-3499,"currency":"usd"}}]}}}}}}"#
    );
    delivery(event_id, "charge.dispute.created", body)
}

/// Somebody else's open transaction.
pub struct Locked(SqliteConnection);

impl Scratch {
    pub async fn locked(&self) -> Locked {
        let mut connection = self.connection().await;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("the lock is free");
        Locked(connection)
    }

    /// Somebody has a read transaction open.
    pub async fn reading(&self) -> Locked {
        let mut connection = self.connection().await;
        sqlx::query("BEGIN").execute(&mut connection).await.expect("it begins");
        sqlx::query("SELECT count(*) FROM event").fetch_all(&mut connection).await.expect("it reads");
        Locked(connection)
    }
}

impl Locked {
    pub async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.expect("it rolls back");
    }
}
