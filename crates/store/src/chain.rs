//! The hash chain over accepted batches. Each link carries the hash of the one
//! before it and of every event in it, so that an event which was edited, removed
//! or put in later does not fit any more.

use domain::AccountId;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::{Result, Store};

/// Whose chain it is. SQLite has one writer at a time, whichever process it is in.
pub const WRITER: &str = "main";

pub(crate) type Hash = [u8; 32];

/// Before the first link.
const ORIGIN: Hash = [0; 32];

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
    field(WRITER.as_bytes());
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

/// The number and hash of the account's newest link.
pub(crate) fn head(connection: &Connection, account: &AccountId) -> Result<(i64, Hash)> {
    let sql = "SELECT number, hash FROM batch WHERE account = ? AND writer = ? ORDER BY number DESC LIMIT 1";
    let newest = connection
        .prepare_cached(sql)?
        .query_row(params![account.as_str(), WRITER], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(newest.unwrap_or((0, ORIGIN)))
}

/// Where the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum ChainFault {
    /// A link's number does not follow the one before it.
    BatchMissing { after: i64 },
    /// A link does not start from the hash of the one before it.
    BatchUnlinked { number: i64 },
    /// The events of a link are not those that it was made of.
    BatchAltered { number: i64, first_seq: i64, last_seq: i64 },
    /// A stored body is not the one that was delivered.
    BodyAltered { event_id: String },
    /// Events that claim to be in a link which is not there: before the first one
    /// or after the last.
    EventsUnlinked { count: u64, first_seq: i64, last_seq: i64 },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    pub batches: u64,
    pub events: u64,
    pub faults: Vec<ChainFault>,
}

/// Links read at a time.
const PAGE: i64 = 200;

impl Store {
    /// The number and the hash (in hex) of the account's newest link; 0 before the first.
    pub async fn chain_head(&self, account: &AccountId) -> Result<(i64, String)> {
        let account = account.clone();
        let (number, hash) = self.hot_reader.run(move |connection| head(connection, &account)).await?;
        Ok((number, hex(&hash)))
    }

    /// The hash (in hex) of one link of a writer's chain; nothing where it is not there.
    pub async fn link_hash(&self, account: &AccountId, writer: &str, number: i64) -> Result<Option<String>> {
        let (account, writer) = (account.clone(), writer.to_owned());
        let sql = "SELECT hash FROM batch WHERE account = ? AND writer = ? AND number = ?";
        let found = self.hot_reader.run(move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let hash = statement.query_row(params![account.as_str(), writer, number], |row| row.get::<_, Vec<u8>>(0));
            Ok(hash.optional()?)
        });
        Ok(found.await?.map(|hash| hex(&hash)))
    }

    /// Walks an account's chain from its start and names what does not fit.
    pub async fn verify_chain(&self, account: &AccountId) -> Result<ChainReport> {
        let mut report = ChainReport::default();
        let (mut number, mut hash) = (0_i64, ORIGIN.to_vec());
        loop {
            let sql = "SELECT number, committed_at, previous_hash, hash FROM batch
                       WHERE account = ? AND writer = ? AND number > ? ORDER BY number LIMIT ?";
            let links = sqlx::query(sql)
                .bind(account.as_str())
                .bind(WRITER)
                .bind(number)
                .bind(PAGE)
                .fetch_all(&self.reader)
                .await?;
            if links.is_empty() {
                report.faults.extend(self.events_unlinked(account).await?);
                return Ok(report);
            }
            let upto: i64 = links[links.len() - 1].get(0);
            let mut events =
                self.links_between(account, number, upto, &mut report.faults).await?.into_iter().peekable();
            for link in links {
                let next: i64 = link.get(0);
                if next != number + 1 {
                    report.faults.push(ChainFault::BatchMissing { after: number });
                }
                if link.get::<Vec<u8>, _>(2) != hash {
                    report.faults.push(ChainFault::BatchUnlinked { number: next });
                }
                let mut members = Vec::new();
                while let Some(member) = events.next_if(|member| member.batch <= next) {
                    members.push(member);
                }
                let derived =
                    batch_hash(&hash, account.as_str(), next, link.get(1), members.iter().map(StoredLink::link));
                hash = link.get(3);
                if derived.as_slice() != hash {
                    report.faults.push(ChainFault::BatchAltered {
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

    /// One statement, so that what is accepted meanwhile is seen with its link.
    async fn events_unlinked(&self, account: &AccountId) -> Result<Option<ChainFault>> {
        let sql = "WITH ends AS (SELECT coalesce(min(number), 0) AS first, coalesce(max(number), 0) AS last
                                 FROM batch WHERE account = ?1 AND writer = ?2)
                   SELECT count(*), min(seq), max(seq) FROM (
                       SELECT seq, batch, writer FROM event WHERE account = ?1
                       UNION ALL SELECT seq, batch, writer FROM event_rendering WHERE account = ?1), ends
                   WHERE batch < first OR batch > last OR writer <> ?2";
        let row = sqlx::query(sql).bind(account.as_str()).bind(WRITER).fetch_one(&self.reader).await?;
        let count = row.get::<i64, _>(0).unsigned_abs();
        Ok((count > 0).then(|| ChainFault::EventsUnlinked { count, first_seq: row.get(1), last_seq: row.get(2) }))
    }

    async fn links_between(
        &self,
        account: &AccountId,
        after: i64,
        upto: i64,
        faults: &mut Vec<ChainFault>,
    ) -> Result<Vec<StoredLink>> {
        let sql = "SELECT e.batch, e.seq, e.event_id, e.gateway, e.mode, e.connected_account, e.endpoint, e.event_type,
                          coalesce(e.api_version, ''), e.received_at, e.body_hash, b.body, 0 AS rendering
                   FROM event e LEFT JOIN event_body b ON b.seq = e.seq
                   WHERE e.account = ?1 AND e.batch > ?2 AND e.batch <= ?3
                   UNION ALL
                   SELECT r.batch, r.seq, e.event_id, e.gateway, e.mode, e.connected_account, r.endpoint, '',
                          r.api_version, r.received_at, r.body_hash, r.body, 1
                   FROM event_rendering r JOIN event e ON e.seq = r.seq
                   WHERE r.account = ?1 AND r.batch > ?2 AND r.batch <= ?3
                   ORDER BY 1, 13, 2, 9";
        let rows = sqlx::query(sql).bind(account.as_str()).bind(after).bind(upto).fetch_all(&self.reader).await?;
        let mut links = Vec::with_capacity(rows.len());
        for row in rows {
            let link = StoredLink {
                batch: row.get(0),
                seq: row.get(1),
                texts: [row.get(2), row.get(3), row.get(4), row.get(5), row.get(6), row.get(7), row.get(8)],
                received_at: row.get(9),
                body_hash: row.get(10),
            };
            let body: Option<Vec<u8>> = row.get(11);
            if body.is_some_and(|body| sha256(&body).as_slice() != link.body_hash) {
                faults.push(ChainFault::BodyAltered { event_id: link.texts[0].clone() });
            }
            links.push(link);
        }
        Ok(links)
    }
}

struct StoredLink {
    batch: i64,
    seq: i64,
    texts: [String; 7],
    received_at: i64,
    body_hash: Vec<u8>,
}

impl StoredLink {
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
