//! A store of a test's own, and what tests put into it.

use std::ops::Deref;

use domain::lattice::Join;
use domain::{AccountId, Mode, Timestamp};
use store::{Claimed, NewEvent, Prepared, Receipt, Settled, Store};
use testdb::Database;

/// Runs each test on every database.
macro_rules! on_each {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::scratch::Scratch::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::scratch::Scratch::postgres().await).await;
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

/// A migrated store, and its database for what only SQL can do.
pub struct Scratch {
    store: Store,
    database: Database,
}

/// What an event stated when it was applied.
pub struct Stated {
    pub event_id: String,
    pub facts: domain::Facts,
    /// So many of those that it was read from are there.
    pub bodies: usize,
}

impl Deref for Scratch {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Scratch {
    pub async fn sqlite() -> Self {
        Self::on(Database::sqlite().await).await
    }

    pub async fn postgres() -> Self {
        Self::on(Database::postgres().await).await
    }

    async fn on(database: Database) -> Self {
        let store = Store::open(database.url()).await.expect("it opens");
        store.migrate().await.expect("it migrates");
        Self { store, database }
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Another database, with nothing in it.
    pub async fn empty_of_its_kind(&self) -> Database {
        if self.is_postgres() { Database::postgres().await } else { Database::sqlite().await }
    }

    pub fn is_postgres(&self) -> bool {
        self.database.is_postgres()
    }

    /// The same database as another process sees it.
    pub async fn opened_again(&self) -> Store {
        Store::open(self.database.url()).await.expect("it opens again")
    }

    /// Runs a statement as somebody would who has the database. Returns how many rows it
    /// changed.
    pub async fn tamper(&self, sql: &str) -> u64 {
        self.database.execute(sql).await
    }

    /// As [`Self::tamper`], or what the database says against it.
    pub async fn try_tamper(&self, sql: &str) -> Result<u64, String> {
        self.database.try_execute(sql).await
    }

    pub async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.database.rows(sql).await
    }

    pub async fn value(&self, sql: &str) -> String {
        self.database.value(sql).await
    }

    pub async fn dump(&self) -> Vec<(String, Vec<Vec<String>>)> {
        self.database.dump().await
    }

    /// The number of an event.
    pub async fn seq_of(&self, event_id: &str) -> i64 {
        let sql = format!("SELECT seq FROM event WHERE event_id = '{event_id}'");
        self.value(&sql).await.parse().expect("a number")
    }

    /// What is stored of what events stated, in the order of acceptance.
    pub async fn stated(&self) -> Vec<Stated> {
        let sql = "SELECT e.event_id, f.facts,
                          (SELECT count(*) FROM event_body b WHERE b.seq = e.seq)
                          + (SELECT count(*) FROM event_rendering r WHERE r.seq = e.seq AND length(r.body) > 0)
                   FROM event e JOIN event_facts f ON f.seq = e.seq ORDER BY e.seq";
        let stated = |row: Vec<String>| Stated {
            event_id: row[0].clone(),
            facts: serde_json::from_str(&row[1]).expect("facts"),
            bodies: row[2].parse().expect("a count"),
        };
        self.rows(sql).await.into_iter().map(stated).collect()
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
