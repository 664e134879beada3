//! A POST that is sent again, with the same key, does nothing again.

use domain::{AccountId, Timestamp};
use sha2::{Digest, Sha256};

use crate::connection::{Row, Tx};
use crate::sql::values;
use crate::{Refusal, Registered, Result};

/// A POST that says how it is to be told from a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    pub key: String,
    /// Of everything that makes the request what it is.
    pub request_hash: [u8; 32],
}

/// For how long a key is remembered, in microseconds.
const KEY_LIFE_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// Keys that are forgotten with each that is remembered: more than one, so that the table
/// does not grow.
const FORGOTTEN_AT_ONCE: u32 = 4;

impl Idempotency {
    /// `request` is what makes the request what it is, in parts.
    pub fn of(key: String, request: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in request {
            hash.update((part.len() as u64).to_be_bytes()); // Lengths keep ("ab","c") from ("a","bc").
            hash.update(part);
        }
        Self { key, request_hash: hash.finalize().into() }
    }

    /// What the request was answered before, if it came before.
    pub(crate) fn said_before(
        &self,
        tx: &Tx<'_>,
        account: &AccountId,
        now: Timestamp,
    ) -> Result<Option<std::result::Result<Registered, Refusal>>> {
        let sql = "SELECT request_hash, resource_id, was_new FROM idempotency_key
                   WHERE account = $1 AND key = $2 AND created_at > $3";
        let read = |row: &Row<'_>| Ok((row.get::<Vec<u8>>(0)?, row.get(1)?, row.get(2)?));
        let stored = tx.first(sql, &values![account.as_str(), &self.key, expired_by(now)], read)?;
        Ok(stored.map(|(hash, id, was_new)| {
            if hash == self.request_hash { Ok(Registered::Replayed { id, was_new }) } else { Err(Refusal::KeyReused) }
        }))
    }

    /// Notes the answer, so that it is the same next time.
    pub(crate) fn remember(&self, tx: &Tx<'_>, account: &AccountId, answer: &Registered, now: Timestamp) -> Result<()> {
        let sql = "INSERT INTO idempotency_key (account, key, request_hash, resource_id, was_new, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (account, key) DO UPDATE SET request_hash = excluded.request_hash,
                       resource_id = excluded.resource_id, was_new = excluded.was_new, created_at = excluded.created_at";
        let was_new = matches!(answer, Registered::New(_));
        let hash = &self.request_hash;
        tx.execute(sql, &values![account.as_str(), &self.key, hash, answer.id(), was_new, now.micros()])?;
        let forget = "DELETE FROM idempotency_key WHERE account = $1 AND (account, key) IN (
                          SELECT account, key FROM idempotency_key
                          WHERE account = $1 AND created_at <= $2 ORDER BY created_at LIMIT $3)";
        tx.execute(forget, &values![account.as_str(), expired_by(now), FORGOTTEN_AT_ONCE])?;
        Ok(())
    }
}

/// Keys of this instant, or of one before it, are forgotten.
const fn expired_by(now: Timestamp) -> i64 {
    now.plus_micros(-KEY_LIFE_MICROS).micros()
}
