//! Where the hash chain goes on.

use domain::AccountId;

use crate::chain::{self, Hash};
use crate::connection::{Row, Tx};
use crate::sql::values;
use crate::{Error, Result};

/// How often to look for a free chain while other replicas begin theirs.
const BEGINNINGS_MAX: usize = 32;

/// The end of a chain that this transaction may make longer.
pub(super) struct Head {
    pub writer: String,
    pub number: i64,
    pub hash: Hash,
}

fn read_head(row: &Row<'_>) -> Result<Head> {
    let hash: Vec<u8> = row.get(2)?;
    let hash = hash.try_into().map_err(|_| Error::corrupt("batch", "", "a hash is not 32 bytes long"))?;
    Ok(Head { writer: row.get(0)?, number: row.get(1)?, hash })
}

/// On PostgreSQL an account has a chain for each transaction that accepts beside others:
/// one that nobody has just now is taken, and there is always one more where there is
/// none. Nobody waits, and no replica has to have a name.
pub(super) fn take(tx: &Tx<'_>, account: &AccountId) -> Result<Head> {
    let name = || values![account.as_str()];
    let origin = |writer: String| Head { writer, number: 0, hash: chain::ORIGIN };
    if !tx.is_postgres() {
        let newest = "SELECT writer, number, hash FROM batch WHERE account = $1 AND writer = $2
                      ORDER BY number DESC LIMIT 1";
        let newest = tx.first(newest, &values![account.as_str(), chain::WRITER], read_head)?;
        return Ok(newest.unwrap_or_else(|| origin(chain::WRITER.to_owned())));
    }
    let free = "SELECT writer, number, hash FROM chain_head WHERE account = $1
                ORDER BY writer LIMIT 1 FOR UPDATE SKIP LOCKED";
    for _ in 0..BEGINNINGS_MAX {
        if let Some(head) = tx.first(free, &name(), read_head)? {
            return Ok(head);
        }
        tx.execute("INSERT INTO account (account) VALUES ($1) ON CONFLICT DO NOTHING", &name())?;
        let begin = "INSERT INTO chain_head (account, writer, number, hash)
                     SELECT $1, CASE count(*) WHEN 0 THEN $2 ELSE $2 || '-' || count(*) END, 0, $3
                     FROM chain_head WHERE account = $1
                     ON CONFLICT DO NOTHING RETURNING writer";
        let beginning = values![account.as_str(), chain::WRITER, &chain::ORIGIN];
        if let Some(writer) = tx.first(begin, &beginning, |row| row.get(0))? {
            return Ok(origin(writer));
        }
    }
    Err(Error::Unavailable("too many replicas begin a chain at once".into()))
}
