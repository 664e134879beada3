//! The hash chain over accepted batches. Each link carries the hash of the one
//! before it and of every event in it, so that an event which was edited, removed
//! or put in later does not fit any more.

use std::collections::BTreeMap;

use domain::AccountId;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::events::body_join;
use crate::query::{Query, Row};
use crate::{Result, Store};

/// Whose chain it is. SQLite has one writer at a time, whichever process it is in; on
/// PostgreSQL this is the first of an account's chains.
pub const WRITER: &str = "main";

pub(crate) type Hash = [u8; 32];

/// Before the first link.
pub(crate) const ORIGIN: Hash = [0; 32];

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// What a link covers of one event (or of a further rendering of it).
pub(crate) struct Link<'a> {
    pub seq: i64,
    pub event_id: &'a str,
    pub gateway: &'a str,
    pub mode: &'a str,
    pub connected_account: &'a str,
    pub endpoint: &'a str,
    /// Empty for a rendering: its event's own row has it.
    pub event_type: &'a str,
    pub api_version: &'a str,
    pub received_at: i64,
    pub body_hash: &'a [u8],
}

/// The hash of one batch. Each field goes in with its length before it, so that no
/// two batches share an encoding.
pub(crate) fn batch_hash<'a>(
    previous: &[u8],
    account: &str,
    writer: &str,
    number: i64,
    committed_at: i64,
    links: impl Iterator<Item = Link<'a>>,
) -> Hash {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    field(previous);
    field(account.as_bytes());
    field(writer.as_bytes());
    field(&number.to_be_bytes());
    field(&committed_at.to_be_bytes());
    for link in links {
        field(&link.seq.to_be_bytes());
        let texts = [
            link.event_id,
            link.gateway,
            link.mode,
            link.connected_account,
            link.endpoint,
            link.event_type,
            link.api_version,
        ];
        for text in texts {
            field(text.as_bytes());
        }
        field(&link.received_at.to_be_bytes());
        field(link.body_hash);
    }
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The newest link of one of an account's chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    pub writer: String,
    pub number: i64,
    /// In hex.
    pub hash: String,
}

/// Where a writer's chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum ChainFault {
    /// A link's number does not follow the one before it.
    BatchMissing { writer: String, after: i64 },
    /// A link does not start from the hash of the one before it.
    BatchUnlinked { writer: String, number: i64 },
    /// The events of a link are not those that it was made of.
    BatchAltered { writer: String, number: i64, first_seq: i64, last_seq: i64 },
    /// A stored body is not the one that was delivered.
    BodyAltered { event_id: String },
    /// Events that claim to be in a link which is not there: before the writer's first
    /// one or after its last.
    EventsUnlinked { writer: String, count: u64, first_seq: i64, last_seq: i64 },
}

/// What came of walking an account's chains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    pub batches: u64,
    pub events: u64,
    pub faults: Vec<ChainFault>,
}

/// Links read at a time.
const PAGE: i64 = 200;

impl Store {
    /// The newest link of each of the account's chains, by writer; none where nothing was
    /// accepted yet.
    pub async fn chain_heads(&self, account: &AccountId) -> Result<Vec<ChainHead>> {
        // From one writer to the next in the index, however long their chains are.
        let sql = "WITH RECURSIVE writers (writer) AS (
                       SELECT min(writer) FROM batch WHERE account = $1
                       UNION ALL
                       SELECT (SELECT min(b.writer) FROM batch b WHERE b.account = $1 AND b.writer > w.writer)
                       FROM writers w WHERE w.writer IS NOT NULL),
                   newest AS MATERIALIZED (
                       SELECT w.writer, (SELECT max(b.number) FROM batch b
                                         WHERE b.account = $1 AND b.writer = w.writer) AS number
                       FROM writers w WHERE w.writer IS NOT NULL)
                   SELECT n.writer, n.number, (SELECT b.hash FROM batch b WHERE b.account = $1
                                               AND b.writer = n.writer AND b.number = n.number)
                   FROM newest n ORDER BY n.writer";
        let rows = Query::new(sql).bind(account.as_str()).fetch_all(&self.reader).await?;
        let head = |row: &Row| ChainHead { writer: row.get(0), number: row.get(1), hash: hex(&row.get::<Vec<u8>>(2)) };
        Ok(rows.iter().map(head).collect())
    }

    /// The hash (in hex) of one link of a writer's chain; nothing where it is not there.
    pub async fn link_hash(&self, account: &AccountId, writer: &str, number: i64) -> Result<Option<String>> {
        let sql = "SELECT hash FROM batch WHERE account = $1 AND writer = $2 AND number = $3";
        let query = Query::new(sql).bind(account.as_str()).bind(writer).bind(number);
        Ok(query.fetch_optional(&self.reader).await?.map(|row| hex(&row.get::<Vec<u8>>(0))))
    }

    /// Walks each of an account's chains from its start and names what does not fit.
    pub async fn verify_chain(&self, account: &AccountId) -> Result<ChainReport> {
        let mut report = ChainReport::default();
        for head in self.chain_heads(account).await? {
            self.verify_writer(account, &head, &mut report).await?;
        }
        report.faults.extend(self.events_unlinked(account).await?);
        Ok(report)
    }

    /// Up to the link that was the newest: what came since is not looked for.
    async fn verify_writer(&self, account: &AccountId, head: &ChainHead, report: &mut ChainReport) -> Result<()> {
        let writer = head.writer.as_str();
        let named = || writer.to_owned();
        let (mut number, mut hash) = (0_i64, ORIGIN.to_vec());
        let spans = self.spans(account, writer).await?;
        loop {
            let sql = "SELECT number, committed_at, previous_hash, hash FROM batch
                       WHERE account = $1 AND writer = $2 AND number > $3 AND number <= $4 ORDER BY number LIMIT $5";
            let query = Query::new(sql).bind(account.as_str()).bind(writer);
            let links = query.bind(number).bind(head.number).bind(PAGE).fetch_all(&self.reader).await?;
            let Some(last) = links.last() else { return Ok(()) };
            let between = (number, last.get(0));
            let events = self.links_between(account, writer, between, &spans, report).await?;
            let mut events = events.into_iter().peekable();
            for link in links {
                let next: i64 = link.get(0);
                if next != number + 1 {
                    report.faults.push(ChainFault::BatchMissing { writer: named(), after: number });
                }
                if link.get::<Vec<u8>>(2) != hash {
                    report.faults.push(ChainFault::BatchUnlinked { writer: named(), number: next });
                }
                let mut members = Vec::new();
                while let Some(member) = events.next_if(|member| member.batch <= next) {
                    members.push(member);
                }
                let covered = members.iter().map(StoredLink::link);
                let derived = batch_hash(&hash, account.as_str(), writer, next, link.get(1), covered);
                hash = link.get(3);
                if derived.as_slice() != hash {
                    report.faults.push(ChainFault::BatchAltered {
                        writer: named(),
                        number: next,
                        first_seq: members.iter().map(|member| member.seq).min().unwrap_or(0),
                        last_seq: members.iter().map(|member| member.seq).max().unwrap_or(0),
                    });
                }
                report.events += members.len() as u64;
                report.batches += 1;
                number = next;
            }
        }
    }

    /// By writer. One statement, so that what is accepted meanwhile is seen with its link.
    async fn events_unlinked(&self, account: &AccountId) -> Result<Vec<ChainFault>> {
        let sql = "WITH ends AS (SELECT writer, min(number) AS first_number, max(number) AS last_number
                                 FROM batch WHERE account = $1 GROUP BY writer)
                   SELECT e.writer, count(*), min(e.seq), max(e.seq) FROM (
                       SELECT seq, batch, writer FROM event WHERE account = $1
                       UNION ALL SELECT seq, batch, writer FROM event_rendering WHERE account = $1) e
                   LEFT JOIN ends ON ends.writer = e.writer
                   WHERE ends.writer IS NULL OR e.batch < ends.first_number OR e.batch > ends.last_number
                   GROUP BY e.writer ORDER BY e.writer";
        let rows = Query::new(sql).bind(account.as_str()).fetch_all(&self.reader).await?;
        let fault = |row: &Row| ChainFault::EventsUnlinked {
            writer: row.get(0),
            count: row.get::<i64>(1).unsigned_abs(),
            first_seq: row.get(2),
            last_seq: row.get(3),
        };
        Ok(rows.iter().map(fault).collect())
    }

    /// Events have no index by link, and a chain is read in many pages: where to look for
    /// those of each.
    async fn spans(&self, account: &AccountId, writer: &str) -> Result<Spans> {
        let sql = "SELECT batch / $3, false, min(seq), max(seq) FROM event WHERE account = $1 AND writer = $2
                   GROUP BY 1
                   UNION ALL
                   SELECT batch / $3, true, min(seq), max(seq) FROM event_rendering
                   WHERE account = $1 AND writer = $2 GROUP BY 1";
        let query = Query::new(sql).bind(account.as_str()).bind(writer).bind(PAGE);
        Ok(Spans::read(&query.fetch_all(&self.reader).await?))
    }

    /// What a writer's links after the first number and up to the second cover, in the
    /// order in which they do.
    async fn links_between(
        &self,
        account: &AccountId,
        writer: &str,
        (after, upto): (i64, i64),
        spans: &Spans,
        report: &mut ChainReport,
    ) -> Result<Vec<StoredLink>> {
        let sql = format!(
            "SELECT e.batch, e.seq, e.event_id, e.gateway, e.mode, e.connected_account, e.endpoint, e.event_type,
                    coalesce(e.api_version, ''), e.received_at, e.body_hash, b.body, false
             FROM event e LEFT JOIN event_body b ON {}
             WHERE e.account = $1 AND e.writer = $2 AND e.batch > $3 AND e.batch <= $4 AND e.seq BETWEEN $5 AND $6
             UNION ALL
             SELECT r.batch, r.seq, e.event_id, e.gateway, e.mode, e.connected_account, r.endpoint, '',
                    r.api_version, r.received_at, r.body_hash, r.body, true
             FROM event_rendering r JOIN event e ON e.account = r.account AND e.seq = r.seq
             WHERE r.account = $1 AND r.writer = $2 AND r.batch > $3 AND r.batch <= $4 AND r.seq BETWEEN $7 AND $8",
            body_join(&self.reader)
        );
        let query = Query::new(&sql).bind(account.as_str()).bind(writer).bind(after).bind(upto);
        let (first, last) = Spans::join(&spans.events, after, upto);
        let query = query.bind(first).bind(last);
        let (first, last) = Spans::join(&spans.renderings, after, upto);
        let query = query.bind(first).bind(last);
        let rows = query.fetch_all(&self.reader).await?;
        let mut links: Vec<StoredLink> = rows.iter().map(StoredLink::read).collect();
        links.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
        let altered = links.iter().filter(|link| !link.body_fits);
        report.faults.extend(altered.map(|link| ChainFault::BodyAltered { event_id: link.texts[0].clone() }));
        Ok(links)
    }
}

/// Between which numbers of events there is what so many links cover, by the links' numbers
/// divided by [`PAGE`].
#[derive(Default)]
struct Spans {
    events: BTreeMap<i64, (i64, i64)>,
    renderings: BTreeMap<i64, (i64, i64)>,
}

impl Spans {
    fn read(rows: &[Row]) -> Self {
        let mut spans = Self::default();
        for row in rows {
            let into = if row.get(1) { &mut spans.renderings } else { &mut spans.events };
            into.insert(row.get(0), (row.get(2), row.get(3)));
        }
        spans
    }

    fn join(spans: &BTreeMap<i64, (i64, i64)>, after: i64, upto: i64) -> (i64, i64) {
        let within = spans.range(after / PAGE..=upto / PAGE);
        within.fold((i64::MAX, i64::MIN), |(low, high), (_, (first, last))| (low.min(*first), high.max(*last)))
    }
}

struct StoredLink {
    batch: i64,
    seq: i64,
    texts: [String; 7],
    received_at: i64,
    body_hash: Vec<u8>,
    is_rendering: bool,
    /// Also where the body was dropped by age.
    body_fits: bool,
}

impl StoredLink {
    fn read(row: &Row) -> Self {
        let body_hash: Vec<u8> = row.get(10);
        let body: Option<&[u8]> = row.get(11);
        Self {
            batch: row.get(0),
            seq: row.get(1),
            texts: [row.get(2), row.get(3), row.get(4), row.get(5), row.get(6), row.get(7), row.get(8)],
            received_at: row.get(9),
            is_rendering: row.get(12),
            body_fits: body.is_none_or(|body| body.is_empty() || sha256(body).as_slice() == body_hash),
            body_hash,
        }
    }

    /// A link covers its events by number, then renderings of earlier ones.
    fn place(&self) -> (i64, bool, i64, &str) {
        (self.batch, self.is_rendering, self.seq, &self.texts[6])
    }

    fn link(&self) -> Link<'_> {
        let [event_id, gateway, mode, connected_account, endpoint, event_type, api_version] = &self.texts;
        Link {
            seq: self.seq,
            event_id,
            gateway,
            mode,
            connected_account,
            endpoint,
            event_type,
            api_version,
            received_at: self.received_at,
            body_hash: &self.body_hash,
        }
    }
}
