//! Reading events, and putting them back to work.

use domain::{AccountId, Timestamp};
use serde::Serialize;

use crate::history::HistoryRow;
use crate::list::List;
use crate::query::{Pool, Query, Row};
use crate::{Error, Result, Store};

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventState {
    /// Stored, not applied yet.
    Pending,
    Applied,
    /// Of no concern.
    Ignored,
    /// For its payment to be registered.
    Waiting,
    /// Applying failed; it is tried again.
    Failed,
    /// Applying failed too often; it waits for a person.
    Dead,
}

impl EventState {
    pub const ALL: [Self; 6] = [Self::Pending, Self::Applied, Self::Ignored, Self::Waiting, Self::Failed, Self::Dead];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Few are, so that they have an index of their own.
    pub const fn is_troubled(self) -> bool {
        matches!(self, Self::Waiting | Self::Failed | Self::Dead)
    }

    /// Nothing more will be done for it by itself.
    pub const fn is_processed(self) -> bool {
        matches!(self, Self::Applied | Self::Ignored)
    }
}

/// A list of events. `None` lets everything through.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub account: Option<AccountId>,
    pub gateway: Option<String>,
    pub endpoint: Option<String>,
    pub event_type: Option<String>,
    pub state: Option<EventState>,
    /// A payment's id: the events about any of its objects.
    pub payment: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// An event's or an object's id, or the beginning of a type.
    pub q: Option<String>,
    pub event_id: Option<String>,
    /// Only events older than the one with this sequence number.
    pub before: Option<i64>,
}

impl EventFilter {
    /// Whether it says more than whose events: what changes many at once asks for
    /// it, because "all of them" is more often a mistake than a wish.
    pub fn is_narrow(&self) -> bool {
        let Self { account: _, gateway, endpoint, event_type, state, payment, since, until, q, event_id, before: _ } =
            self;
        let texts = [gateway, endpoint, event_type, payment, q, event_id];
        texts.iter().any(|text| text.as_ref().is_some_and(|text| !text.is_empty()))
            || state.is_some()
            || since.is_some()
            || until.is_some()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventRow {
    #[serde(skip)]
    pub seq: i64,
    pub account: AccountId,
    pub gateway: String,
    pub endpoint: String,
    pub mode: String,
    /// Empty where there is none.
    pub connected_account: String,
    pub event_id: String,
    pub event_type: String,
    pub api_version: Option<String>,
    pub object_id: Option<String>,
    pub state: EventState,
    pub processed: bool,
    pub error_message: Option<String>,
    pub attempts: u32,
    pub needs_fetch: bool,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Timestamp,
    #[serde(serialize_with = "rfc3339_or_null")]
    pub processed_at: Option<Timestamp>,
}

/// A delivery after the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redelivery {
    pub endpoint: String,
    #[serde(serialize_with = "rfc3339")]
    pub received_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedAttempt {
    pub number: u32,
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    pub error: String,
}

/// Everything that is known of one event.
#[derive(Clone, Debug, Serialize)]
pub struct EventDetail {
    #[serde(flatten)]
    pub event: EventRow,
    /// As it was delivered. `None` once it was dropped by age.
    #[serde(skip)]
    pub body: Option<Vec<u8>>,
    pub redeliveries: Vec<Redelivery>,
    pub failed_attempts: Vec<FailedAttempt>,
    pub changes: Vec<HistoryRow>,
}

/// What is stored and not applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Backlog {
    pub events: u64,
    /// When the oldest of them came.
    pub oldest_received_at: Option<Timestamp>,
}

/// How many events are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateCounts {
    pub total: u64,
    pub pending: u64,
    pub applied: u64,
    pub ignored: u64,
    pub waiting: u64,
    pub failed: u64,
    pub dead: u64,
}

pub(crate) fn rfc3339<S: serde::Serializer>(at: &Timestamp, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

pub(crate) fn rfc3339_or_null<S: serde::Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

const COLUMNS: &str = "e.seq, e.account, e.gateway, e.endpoint, e.mode, e.event_id, e.event_type, e.api_version,
    f.object_id, e.state, e.error, e.attempts, coalesce(f.needs_fetch, false), e.received_at, e.settled_at,
    e.connected_account";
/// Columns before those that a query adds.
const COLUMNS_LEN: usize = 16;

/// Of events as `e`, with their facts as `f` where they were applied.
const FROM: &str = "event e LEFT JOIN event_facts f ON f.account = e.account AND f.seq = e.seq";

/// On what bodies as `b` are joined to events as `e`. On PostgreSQL they are partitioned
/// by when they came.
pub(crate) const fn body_join(pool: &Pool) -> &'static str {
    match pool {
        Pool::Sqlite(_) => "b.seq = e.seq",
        Pool::Postgres(_) => "b.account = e.account AND b.seq = e.seq AND b.received_at = e.received_at",
    }
}

/// What was kept only to be ignored was never read, and stays so.
const NOT_KEPT_ASIDE: &str = " AND NOT (e.state = 'ignored' AND e.error IS NOT NULL)";

fn event_row(row: &Row) -> Result<EventRow> {
    let seq: i64 = row.get(0);
    let corrupt = |what: &str| Error::corrupt("event", seq, what);
    let state = EventState::parse(row.get(9)).ok_or_else(|| corrupt("its state is unknown"))?;
    Ok(EventRow {
        seq,
        account: AccountId::parse(row.get(1)).ok_or_else(|| corrupt("its account is no account"))?,
        gateway: row.get(2),
        endpoint: row.get(3),
        mode: row.get(4),
        connected_account: row.get(15),
        event_id: row.get(5),
        event_type: row.get(6),
        api_version: row.get(7),
        object_id: row.get(8),
        state,
        processed: state.is_processed(),
        error_message: row.get(10),
        attempts: u32_of(row.get(11)),
        needs_fetch: row.get(12),
        created_at: Timestamp::from_micros(row.get(13)),
        processed_at: state.is_processed().then(|| Timestamp::from_micros(row.get(14))),
    })
}

fn u32_of(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Whose events, and of which payment where the filter names one.
struct Whose {
    account: Option<AccountId>,
    /// Its number.
    payment: Option<i64>,
}

/// A list on SQLite is in the order of rows: an index by account alone would only make it
/// sort. A `+` keeps it from using one.
fn account_column(pool: &Pool, filter: &EventFilter) -> &'static str {
    let indexed = filter.event_id.is_some() || filter.state.is_some_and(EventState::is_troubled);
    if indexed || pool.is_postgres() { "e.account" } else { "+e.account" }
}

/// As [`push_filter`], of that account, and before what the filter names.
fn push_conditions(query: &mut Query, pool: &Pool, filter: &EventFilter, whose: &Whose) {
    query.push(" WHERE true");
    if let Some(account) = &whose.account {
        query.push(format_args!(" AND {} = ", account_column(pool, filter))).push_bind(account.as_str());
    }
    if let Some(before) = filter.before {
        query.push(" AND e.seq < ").push_bind(before);
    }
    push_filter(query, filter, whose);
}

fn push_filter(query: &mut Query, filter: &EventFilter, whose: &Whose) {
    let mut equal = |column: &str, value: Option<&str>| {
        if let Some(value) = value {
            query.push(format_args!(" AND {column} = ")).push_bind(value);
        }
    };
    equal("e.gateway", filter.gateway.as_deref());
    equal("e.endpoint", filter.endpoint.as_deref().map(|path| path.strip_suffix('/').unwrap_or(path)));
    equal("e.event_type", filter.event_type.as_deref());
    equal("e.event_id", filter.event_id.as_deref());
    if let Some(state) = filter.state {
        query.push(format_args!(" AND e.state = '{}'", state.as_str())); // Literal, to match the partial index.
    }
    if let Some(since) = filter.since {
        query.push(" AND e.received_at >= ").push_bind(since.micros());
    }
    if let Some(until) = filter.until {
        query.push(" AND e.received_at < ").push_bind(until.micros());
    }
    if let Some(q) = &filter.q {
        query.push(" AND (e.event_id = ").push_bind(q);
        query.push(" OR f.object_id = ").push_bind(q);
        query.push(" OR substr(e.event_type, 1, length(").push_bind(q);
        query.push(")) = ").push_bind(q).push(")");
    }
    if let (Some(account), Some(number)) = (&whose.account, whose.payment) {
        query.push(" AND e.seq IN (SELECT p.seq FROM event_facts p WHERE p.account = ");
        query.push_bind(account.as_str()).push(" AND p.payment = ").push_bind(number).push(")");
    }
}

impl Store {
    /// Newest first, at most `limit`.
    pub async fn list_events(&self, filter: &EventFilter, limit: u32) -> Result<Vec<EventRow>> {
        let Some(whose) = self.whose(filter).await? else { return Ok(Vec::new()) };
        let column = account_column(&self.reader, filter);
        let mut list = List::new(&self.reader, COLUMNS, FROM, column, whose.account.as_ref());
        push_filter(list.conditions(), filter, &whose);
        list.newest(&self.reader, "e.seq", filter.before, limit).await?.iter().map(event_row).collect()
    }

    /// `None` where there is no such payment as the filter names.
    async fn whose(&self, filter: &EventFilter) -> Result<Option<Whose>> {
        let account = filter.account.clone();
        let Some(id) = &filter.payment else { return Ok(Some(Whose { account, payment: None })) };
        let found = self.payment_number(account.as_ref(), id).await?;
        Ok(found.map(|(account, number)| Whose { account: Some(account), payment: Some(number) }))
    }

    /// One event with all that belongs to it.
    pub async fn show_event(&self, account: &AccountId, seq: i64) -> Result<Option<EventDetail>> {
        let body_join = body_join(&self.reader);
        let event = format!(
            "SELECT {COLUMNS}, b.body FROM {FROM} LEFT JOIN event_body b ON {body_join}
             WHERE e.account = $1 AND e.seq = $2"
        );
        let of_event = |sql: &str| Query::new(sql).bind(account.as_str()).bind(seq);
        let Some(row) = of_event(&event).fetch_optional(&self.reader).await? else { return Ok(None) };
        let redeliveries = "SELECT endpoint, received_at FROM redelivery WHERE account = $1 AND seq = $2 ORDER BY 2, 1";
        let redeliveries = of_event(redeliveries).fetch_all(&self.reader).await?;
        let attempts = "SELECT number, at, error FROM failed_attempt WHERE account = $1 AND seq = $2 ORDER BY 1";
        let attempts = of_event(attempts).fetch_all(&self.reader).await?;
        Ok(Some(EventDetail {
            event: event_row(&row)?,
            body: row.get(COLUMNS_LEN),
            redeliveries: redeliveries
                .iter()
                .map(|row| Redelivery { endpoint: row.get(0), received_at: Timestamp::from_micros(row.get(1)) })
                .collect(),
            failed_attempts: attempts
                .iter()
                .map(|row| FailedAttempt {
                    number: u32_of(row.get(0)),
                    at: Timestamp::from_micros(row.get(1)),
                    error: row.get(2),
                })
                .collect(),
            changes: self.history_of_event(account, seq).await?,
        }))
    }

    /// Puts events back to be applied now, whatever became of them before. What
    /// was applied already changes nothing. Returns how many there were.
    pub async fn replay_events(&self, filter: &EventFilter, now: Timestamp) -> Result<u64> {
        let Some(whose) = self.whose(filter).await? else { return Ok(0) };
        let mut query = Query::new("UPDATE event AS u SET state = 'pending', attempts = 0, due_at = ");
        query.push_bind(now.micros()).push(" FROM (SELECT e.account, e.seq FROM ").push(FROM);
        query.push(" JOIN event_body b ON ").push(body_join(&self.writer));
        push_conditions(&mut query, &self.writer, filter, &whose);
        query.push(NOT_KEPT_ASIDE);
        if self.writer.is_postgres() {
            // In the order of their numbers, as everybody who locks several.
            query.push(" ORDER BY e.account, e.seq FOR UPDATE OF e");
        }
        query.push(") found WHERE u.account = found.account AND u.seq = found.seq");
        // SQLite would walk all of the account's events in the order of their ids.
        if let Some(account) = whose.account.as_ref().filter(|_| self.writer.is_postgres()) {
            query.push(" AND u.account = ").push_bind(account.as_str());
        }
        query.execute(&self.writer).await
    }

    /// As [`Self::replay_events`], of one event. Returns whether it was put back.
    pub async fn replay_event(&self, account: &AccountId, seq: i64, now: Timestamp) -> Result<bool> {
        let sql = format!(
            "UPDATE event AS e SET state = 'pending', attempts = 0, due_at = $1 WHERE e.account = $2 AND e.seq = $3
             AND EXISTS (SELECT 1 FROM event_body b WHERE {}){NOT_KEPT_ASIDE}",
            body_join(&self.writer)
        );
        let query = Query::new(&sql).bind(now.micros()).bind(account.as_str()).bind(seq);
        Ok(query.execute(&self.writer).await? == 1)
    }

    /// How many events [`Self::replay_events`] would put back.
    pub async fn count_replayable(&self, filter: &EventFilter) -> Result<u64> {
        let Some(whose) = self.whose(filter).await? else { return Ok(0) };
        let mut query = Query::new("SELECT count(*) FROM ");
        query.push(FROM).push(" JOIN event_body b ON ").push(body_join(&self.reader));
        push_conditions(&mut query, &self.reader, filter, &whose);
        query.push(NOT_KEPT_ASIDE);
        Ok(query.fetch_one(&self.reader).await?.get::<i64>(0).unsigned_abs())
    }

    /// How many events the filter lets through.
    pub async fn count_events(&self, filter: &EventFilter) -> Result<u64> {
        let Some(whose) = self.whose(filter).await? else { return Ok(0) };
        let mut query = Query::new("SELECT count(*) FROM ");
        query.push(FROM);
        push_conditions(&mut query, &self.reader, filter, &whose);
        Ok(query.fetch_one(&self.reader).await?.get::<i64>(0).unsigned_abs())
    }

    /// Over all accounts: what is stored and still to be applied.
    pub async fn backlog(&self) -> Result<Backlog> {
        // Both from the index alone, however long the backlog is. Events are numbered as
        // they come, so the first of an account's is its oldest.
        let sql = "WITH due AS MATERIALIZED (SELECT account, count(*) AS events, min(seq) AS first_seq FROM event
                                             WHERE due_at IS NOT NULL GROUP BY account)
                   SELECT CAST(coalesce(sum(due.events), 0) AS BIGINT), min(e.received_at)
                   FROM due LEFT JOIN event e ON e.account = due.account AND e.seq = due.first_seq";
        let row = Query::new(sql).fetch_one(&self.reader).await?;
        let oldest: Option<i64> = row.get(1);
        let events = row.get::<i64>(0).unsigned_abs();
        Ok(Backlog { events, oldest_received_at: oldest.map(Timestamp::from_micros) })
    }

    /// Of one account, or of all, since an instant.
    pub async fn count_states(&self, account: Option<&AccountId>, since: Timestamp) -> Result<StateCounts> {
        let mut query = Query::new("SELECT state, count(*) FROM event WHERE received_at >= ");
        query.push_bind(since.micros());
        if let Some(account) = account {
            query.push(" AND account = ").push_bind(account.as_str());
        }
        let mut counts = StateCounts::default();
        for row in query.push(" GROUP BY state").fetch_all(&self.reader).await? {
            let count = row.get::<i64>(1).unsigned_abs();
            counts.total += count;
            match EventState::parse(row.get(0)) {
                Some(EventState::Pending) => counts.pending = count,
                Some(EventState::Applied) => counts.applied = count,
                Some(EventState::Ignored) => counts.ignored = count,
                Some(EventState::Waiting) => counts.waiting = count,
                Some(EventState::Failed) => counts.failed = count,
                Some(EventState::Dead) => counts.dead = count,
                None => return Err(Error::corrupt("event", "", "a state is unknown")),
            }
        }
        Ok(counts)
    }
}
