//! Dropping bodies by age. What an event is and what it stated stays: a late duplicate is
//! still a duplicate, the chain still holds, and state can still be derived again.

use domain::{AccountId, Timestamp};

use crate::connection::Tx;
use crate::postgres::partitions;
use crate::query::Pool;
use crate::sql::values;
use crate::{Result, Store};

/// Bodies that one transaction looks at: about as long as a batch of acceptance takes.
const CHUNK: u32 = 256;

/// Where one chunk ended.
struct Chunk {
    dropped: u64,
    /// From where on to go on; nothing where all that follows is younger.
    next: Option<i64>,
}

impl Store {
    /// Drops the bodies of events that came before `before` and need no more work: what is
    /// pending, waiting, failed or dead keeps its own. Many small transactions; on
    /// PostgreSQL whole partitions at once, where all they hold is older. Returns how many
    /// bodies were dropped one by one.
    pub async fn drop_bodies(&self, before: Timestamp) -> Result<u64> {
        if let Pool::Postgres(database) = &self.writer {
            partitions::drop_old(database, before).await?;
        }
        let accounts = self.accounts().await?;
        let mut dropped = 0;
        if self.is_shared() {
            for account in &accounts {
                dropped += self.drop_in_chunks(Some(account), before).await?;
            }
        } else {
            dropped += self.drop_in_chunks(None, before).await?;
        }
        for account in accounts {
            loop {
                let account = account.clone();
                let empty_some = move |tx: &Tx<'_>| empty_renderings(tx, &account, before);
                match self.accepting.run(move |connection| connection.write(empty_some)).await? {
                    0 => break,
                    emptied => dropped += emptied,
                }
            }
        }
        Ok(dropped)
    }

    /// On SQLite bodies of all accounts are in one order, that of their events.
    async fn drop_in_chunks(&self, account: Option<&AccountId>, before: Timestamp) -> Result<u64> {
        let (mut after, mut dropped) = (0, 0);
        loop {
            let account = account.cloned();
            let drop_some = move |tx: &Tx<'_>| drop_chunk(tx, account.as_ref(), after, before);
            let chunk = self.accepting.run(move |connection| connection.write(drop_some)).await?;
            dropped += chunk.dropped;
            match chunk.next {
                Some(next) => after = next,
                None => return Ok(dropped),
            }
        }
    }

    /// Makes the partitions that bodies of the coming weeks go to; on SQLite there are
    /// none. `expires`: bodies are dropped by age, so that partitions are worth being short.
    pub async fn make_partitions(&self, now: Timestamp, expires: bool) -> Result<()> {
        match &self.writer {
            Pool::Sqlite(_) => Ok(()),
            Pool::Postgres(database) => partitions::make(database, now, expires).await,
        }
    }
}

/// The last of a chunk, and when the earliest event of it came.
const CHUNK_OF_SQLITE: &str = "SELECT max(seq), min(received_at) FROM (
    SELECT b.seq, e.received_at FROM event_body b CROSS JOIN event e ON e.seq = b.seq
    WHERE b.seq > $1 ORDER BY b.seq LIMIT $2)";
const CHUNK_OF_POSTGRES: &str = "SELECT max(seq), min(received_at) FROM (
    SELECT seq, received_at FROM event_body_default WHERE account = $3 AND seq > $1 ORDER BY seq LIMIT $2) found";
const DROP_ON_SQLITE: &str = "DELETE FROM event_body WHERE seq > $1 AND seq <= $2 AND EXISTS (
    SELECT 1 FROM event e WHERE e.seq = event_body.seq AND e.received_at < $3 AND e.due_at IS NULL
    AND e.state IN ('applied', 'ignored'))";
/// Who wants one of these events again holds it meanwhile.
const DROP_ON_POSTGRES: &str = "DELETE FROM event_body_default b
    USING (SELECT e.seq FROM event e
           WHERE e.account = $4 AND e.seq > $1 AND e.seq <= $2 AND e.due_at IS NULL AND e.state IN ('applied', 'ignored')
           ORDER BY e.seq FOR UPDATE OF e SKIP LOCKED) settled
    WHERE b.account = $4 AND b.seq = settled.seq AND b.received_at < $3";

fn drop_chunk(tx: &Tx<'_>, account: Option<&AccountId>, after: i64, before: Timestamp) -> Result<Chunk> {
    let bounds = |row: &crate::connection::Row<'_>| Ok((row.get::<Option<i64>>(0)?, row.get::<Option<i64>>(1)?));
    let chunk = match account {
        Some(account) => tx.first(CHUNK_OF_POSTGRES, &values![after, CHUNK, account.as_str()], bounds)?,
        None => tx.first(CHUNK_OF_SQLITE, &values![after, CHUNK], bounds)?,
    };
    let Some((Some(last), Some(earliest))) = chunk else { return Ok(Chunk { dropped: 0, next: None }) };
    // Events are numbered nearly as they come, so that those after a young chunk are young.
    if earliest >= before.micros() {
        return Ok(Chunk { dropped: 0, next: None });
    }
    let dropped = match account {
        Some(account) => tx.execute(DROP_ON_POSTGRES, &values![after, last, before.micros(), account.as_str()])?,
        None => tx.execute(DROP_ON_SQLITE, &values![after, last, before.micros()])?,
    };
    Ok(Chunk { dropped, next: Some(last) })
}

/// A rendering is a link of the chain: its row stays, without the body.
fn empty_renderings(tx: &Tx<'_>, account: &AccountId, before: Timestamp) -> Result<u64> {
    let sql = "UPDATE event_rendering SET body = $3 WHERE account = $4 AND (seq, api_version) IN (
                   SELECT r.seq, r.api_version FROM event_rendering r
                   JOIN event e ON e.account = r.account AND e.seq = r.seq
                   WHERE r.account = $4 AND r.received_at < $1 AND length(r.body) > 0 AND e.received_at < $1
                     AND e.due_at IS NULL AND e.state IN ('applied', 'ignored') LIMIT $2)";
    let none: &[u8] = &[];
    tx.execute(sql, &values![before.micros(), CHUNK, none, account.as_str()])
}
