//! From stored events to state. There is one way, whether an event was accepted a
//! moment ago, left behind by a crash, is due for another try, or is replayed: it
//! is due in the store, and is claimed from there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use domain::booking::BookingReason;
use domain::lattice::Join;
use domain::{AccountId, Change, Flag, Outcome, Subject, Timestamp, retry};
use gateways::{Gateway, NotAnEvent, Statement};
use store::{Attempt, Claimed, Place, Prepared, Restated, Settled, Store, StoredEvent};
use tokio::sync::{Notify, watch};

use crate::{Clock, Settlements};

/// Events of one account before another has its turn.
const TURN_MAX: usize = 4096;
/// How often to look for what became due without anybody saying so: retries, and
/// events that another process put back.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// Pause after the database was away.
const AWAY_PAUSE: Duration = Duration::from_secs(1);

/// Why an event could not be applied.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    NotAnEvent(#[from] NotAnEvent),
    #[error("no gateway {0:?} is known")]
    UnknownGateway(String),
    #[error("{0}")]
    Store(#[from] store::Error),
    #[error("a defect in Quittance: applying it panicked")]
    Panicked,
}

impl Failure {
    /// Not the event's fault.
    const fn is_outage(&self) -> bool {
        matches!(self, Self::Store(store::Error::Unavailable(_) | store::Error::Closed))
    }
}

/// Applies whatever is due until `stopped`; then finishes the batch under way.
pub(crate) async fn run(
    store: Store,
    clock: Clock,
    settlements: Settlements,
    work: Arc<Notify>,
    mut stopped: watch::Receiver<bool>,
) {
    let applier = Applier { store: &store, clock: &clock, settlements: &settlements };
    while !*stopped.borrow() {
        let pause = match applier.apply_due().await {
            Ok(0) => SWEEP_INTERVAL,
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(%error, "applying is held up");
                AWAY_PAUSE
            }
        };
        tokio::select! {
            () = work.notified(), if pause == SWEEP_INTERVAL => {}
            () = tokio::time::sleep(pause) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// Gives each account that has something due a turn. Returns how many
/// events were settled or failed; an error when the database is away.
pub async fn apply_due(store: &Store, clock: &Clock) -> store::Result<usize> {
    Applier { store, clock, settlements: &Settlements::default() }.apply_due().await
}

/// What applying needs.
#[derive(Clone, Copy)]
struct Applier<'a> {
    store: &'a Store,
    clock: &'a Clock,
    /// Is told of every event that was settled or failed.
    settlements: &'a Settlements,
}

impl Applier<'_> {
    async fn apply_due(self) -> store::Result<usize> {
        let mut count = 0;
        for account in self.store.accounts_due(self.clock.now()).await? {
            match self.apply_account(&account).await {
                Ok(applied) => count += applied,
                // What is wrong with one account's rows holds up no other account.
                Err(error @ store::Error::Corrupt { .. }) => {
                    tracing::error!(%account, %error, "applying this account is held up");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// While one batch is written, the next is read. On PostgreSQL a lane's next batch is
    /// read after it; there other lanes are at work meanwhile.
    async fn apply_account(self, account: &AccountId) -> store::Result<usize> {
        let Self { store, clock, .. } = self;
        let mut count = 0;
        let mut batch = Batch::read(store, clock, account, Place::START).await?;
        while let Some(last) = batch.last {
            count += batch.len();
            if count >= TURN_MAX {
                self.apply_batch(account, batch).await?;
                break;
            }
            let next = Batch::read(store, clock, account, last);
            let (applied, next) = tokio::join!(self.apply_batch(account, batch), next);
            applied?;
            batch = next?;
        }
        Ok(count)
    }

    async fn apply_batch(self, account: &AccountId, batch: Batch) -> store::Result<()> {
        let Batch { events, prepared, unreadable, last: _ } = batch;
        for (event, failure) in unreadable {
            self.fail(account, &event, failure).await?;
        }
        match apply(self.store, self.clock, account, prepared).await {
            Ok(settled) => {
                self.note_settled(&events, &settled);
                Ok(())
            }
            Err(failure) if failure.is_outage() => outage(failure),
            // One of them poisons the batch.
            Err(_) => self.apply_apart(account, &events).await,
        }
    }

    /// Halves what failed together until each that fails is alone: one among hundreds costs
    /// a few transactions more, and not hundreds.
    async fn apply_apart(self, account: &AccountId, events: &[Claimed]) -> store::Result<()> {
        let (first, second) = events.split_at(events.len() / 2);
        let mut parts = vec![second, first];
        while let Some(part) = parts.pop() {
            let applied = match part.iter().map(prepare).collect() {
                Ok(ready) => apply(self.store, self.clock, account, ready).await,
                Err(failure) => Err(failure),
            };
            match (applied, part) {
                (Ok(settled), _) => self.note_settled(part, &settled),
                (Err(failure), _) if failure.is_outage() => return outage(failure),
                (Err(failure), [event]) => self.fail(account, event, failure).await?,
                (Err(_), _) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(())
    }

    fn note_settled(self, events: &[Claimed], settled: &[Settled]) {
        let now = self.clock.now();
        for (event, settled) in events.iter().zip(settled) {
            log_settled(event, settled, now);
        }
        self.settlements.settled(events.iter().map(|event| event.event_id.as_str()));
    }

    async fn fail(self, account: &AccountId, event: &Claimed, failure: Failure) -> store::Result<()> {
        let number = event.attempts + 1;
        let now = self.clock.now();
        let retry_at = retry::backoff_micros(number, fastrand::f64()).map(|micros| now.plus_micros(micros));
        let error = failure.to_string();
        if retry_at.is_some() {
            tracing::warn!(event_id = event.event_id, attempt = number, error, "Applying failed, will try again");
        } else {
            tracing::error!(
                event_id = event.event_id,
                attempt = number,
                error,
                "Applying failed for good: event is dead"
            );
        }
        self.store
            .fail(account, Attempt { seq: event.seq, due_at: event.due_at, number, error, retry_at }, now)
            .await?;
        self.settlements.settled(std::iter::once(event.event_id.as_str()));
        Ok(())
    }
}

/// Claimed events and what they state.
struct Batch {
    /// With what each states, in the same order.
    events: Vec<Claimed>,
    prepared: Vec<Prepared>,
    unreadable: Vec<(Claimed, Failure)>,
    last: Option<Place>,
}

impl Batch {
    async fn read(store: &Store, clock: &Clock, account: &AccountId, after: Place) -> store::Result<Self> {
        let claimed = store.claim(account, after, clock.now(), store.apply_batch_max()).await?;
        let last = claimed.last().map(Claimed::place);
        let mut batch = Self { events: Vec::new(), prepared: Vec::new(), unreadable: Vec::new(), last };
        for event in claimed {
            match prepare(&event) {
                Ok(ready) => {
                    batch.prepared.push(ready);
                    batch.events.push(event);
                }
                Err(failure) => batch.unreadable.push((event, failure)),
            }
        }
        Ok(batch)
    }

    fn len(&self) -> usize {
        self.events.len() + self.unreadable.len()
    }
}

fn outage(failure: Failure) -> store::Result<()> {
    match failure {
        Failure::Store(error) => Err(error),
        Failure::NotAnEvent(_) | Failure::UnknownGateway(_) | Failure::Panicked => Ok(()),
    }
}

async fn apply(
    store: &Store,
    clock: &Clock,
    account: &AccountId,
    batch: Vec<Prepared>,
) -> Result<Vec<Settled>, Failure> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    Ok(store.apply(account, batch, clock.now()).await?)
}

/// What a claimed event states, all of its renderings together.
fn prepare(event: &Claimed) -> Result<Prepared, Failure> {
    let gateway =
        Gateway::parse(&event.scope.gateway).ok_or_else(|| Failure::UnknownGateway(event.scope.gateway.clone()))?;
    let bodies = std::iter::once(&event.body).chain(&event.renderings).map(Vec::as_slice);
    // What was dropped by age was read before; what is left adds to what it stated.
    let is_left = event.stated.is_some() || !event.renderings.is_empty();
    let bodies = bodies.filter(|body| !(is_left && body.is_empty()));
    let endpoint = AsDelivered { creates: event.creates, holds_mismatch: event.holds_mismatch };
    let mut statement = state(gateway, bodies, event.received_at, endpoint)?;
    if let Some(stated) = event.stated.clone() {
        statement.facts.join(stated.facts);
        statement.object_id = statement.object_id.or(stated.object_id);
        statement.needs_fetch |= stated.needs_fetch;
    }
    let Statement { facts, object_id, needs_fetch } = statement;
    let decides = gateway.decides(&event.event_type) && facts.has_statement();
    Ok(Prepared::new(event, facts, object_id, needs_fetch, decides)?)
}

/// As [`prepare`]; `None` of an event that cannot be read.
pub(crate) fn readable(event: &Claimed) -> Option<Prepared> {
    prepare(event).ok()
}

/// What is so of an event because of the endpoint that it came to.
#[derive(Clone, Copy)]
struct AsDelivered {
    creates: bool,
    holds_mismatch: bool,
}

/// What an event states in all of its renderings. A panic is the event's failure.
fn state<'a>(
    gateway: Gateway,
    bodies: impl Iterator<Item = &'a [u8]>,
    received_at: Timestamp,
    endpoint: AsDelivered,
) -> Result<Statement, Failure> {
    let mut whole = Statement::default();
    for body in bodies {
        let normalise = AssertUnwindSafe(|| gateway.normalise(body, received_at));
        let statement = catch_unwind(normalise).map_err(|_| Failure::Panicked)??;
        whole.facts.join(statement.facts);
        whole.object_id = whole.object_id.or(statement.object_id);
        whole.needs_fetch |= statement.needs_fetch;
    }
    if !whole.facts.is_empty() {
        whole.facts.creates = endpoint.creates;
        whole.facts.holds_mismatch = endpoint.holds_mismatch;
    }
    whole.facts.note_names();
    Ok(whole)
}

/// What a stored event states when it is read again; `None` if it cannot be read.
pub(crate) fn restate(event: &StoredEvent) -> Option<Restated> {
    let gateway = Gateway::parse(&event.scope.gateway)?;
    let endpoint = AsDelivered { creates: event.creates, holds_mismatch: event.holds_mismatch };
    let bodies = event.bodies.iter().map(Vec::as_slice);
    let Statement { facts, object_id, needs_fetch } = state(gateway, bodies, event.received_at, endpoint).ok()?;
    Some(Restated { facts, object_id, needs_fetch })
}

/// What applying these events would do, without doing it. Pairs of an event's id
/// and its outcome; events that cannot be read are left out.
pub async fn preview(store: &Store, account: &AccountId, claimed: &[Claimed]) -> store::Result<Vec<(String, Outcome)>> {
    let ready = claimed.iter().filter_map(|event| Some((event.event_id.clone(), readable(event)?)));
    let (event_ids, prepared): (Vec<String>, Vec<Prepared>) = ready.unzip();
    let outcomes = store.preview(account, prepared).await?;
    Ok(event_ids.into_iter().zip(outcomes).collect())
}

/// One line for the event, and one for each thing that changed or needs a look.
fn log_settled(event: &Claimed, settled: &Settled, now: Timestamp) {
    let Settled::Done(outcome) = settled else { return };
    // Since there was something to do for it: it came, or was put back.
    let waited = now.micros() - event.due_at.unwrap_or(event.received_at).micros();
    let (word, payment_id) = match outcome {
        Outcome::Applied { payment_id, .. } => ("applied", payment_id.as_str()),
        Outcome::Ignored => ("ignored", ""),
        Outcome::Waiting => ("waiting", ""),
    };
    tracing::info!(
        event_id = event.event_id,
        endpoint = event.endpoint,
        account = %event.scope.account,
        outcome = word,
        payment_id,
        duration_ms = waited as f64 / 1000.0,
        "Processing webhook event: {}",
        event.event_type
    );
    let Outcome::Applied { changes, raised, .. } = outcome else { return };
    // That PayPal was not asked yet is so of every payment at first, and that a refund is
    // missing of every one whose charge is heard of before it.
    let is_passing = |flag: &Flag| matches!(flag, Flag::NotConfirmed | Flag::RefundMissing);
    for flag in raised.iter().filter(|flag| !is_passing(flag)) {
        tracing::warn!(event_id = event.event_id, account = %event.scope.account, payment_id, flag = flag.as_str(),
            "A payment needs a look: {flag}");
    }
    changes.iter().for_each(|change| log_change(event, change));
}

fn log_change(event: &Claimed, change: &Change) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return; // Spares making up what nobody reads.
    }
    let id = &change.id;
    let message = match (change.subject, change.to, change.reason) {
        (Subject::Booking, "confirmed", _) => format!("Booking {id} confirmed successfully via webhook"),
        (Subject::Booking, "cancelled", Some(BookingReason::DatesUnavailable)) => {
            format!("Booking {id} cancelled due to availability conflict")
        }
        (subject, to, _) => format!("The {} {id} is {to}", subject.as_str().replace('_', " ")),
    };
    tracing::info!(
        event_id = event.event_id,
        account = %event.scope.account,
        payment_id = change.payment_id,
        subject = change.subject.as_str(),
        id,
        from = change.from,
        to = change.to,
        "{message}"
    );
}
