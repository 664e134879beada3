//! API keys. Only their hashes are kept.

use domain::{AccountId, Timestamp};
use serde::Serialize;

use crate::events::{rfc3339, rfc3339_or_null};
use crate::query::{Query, Row};
use crate::{Error, Result, Store, chain};

/// What a key may do; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    Read,
    Write,
    Admin,
}

impl KeyScope {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    pub id: String,
    /// `None`: all accounts.
    pub account: Option<AccountId>,
    pub scope: KeyScope,
    pub name: String,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Timestamp,
    #[serde(serialize_with = "rfc3339_or_null")]
    pub revoked_at: Option<Timestamp>,
}

fn api_key(row: &Row) -> Result<ApiKey> {
    let id: String = row.get(0);
    let account: Option<String> = row.get(1);
    let corrupt = |why: &str| Error::corrupt("api_key", &id, why);
    Ok(ApiKey {
        account: match account {
            Some(name) => Some(AccountId::parse(&name).ok_or_else(|| corrupt("its account is no account"))?),
            None => None,
        },
        scope: KeyScope::parse(row.get(2)).ok_or_else(|| corrupt("its scope is unknown"))?,
        name: row.get(3),
        created_at: Timestamp::from_micros(row.get(4)),
        revoked_at: row.get::<Option<i64>>(5).map(Timestamp::from_micros),
        id,
    })
}

impl Store {
    /// Keeps the hash of `secret`, which is shown to nobody again.
    pub async fn create_key(&self, key: &ApiKey, secret: &str) -> Result<()> {
        let sql = "INSERT INTO api_key (id, account, scope, name, hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
        Query::new(sql)
            .bind(key.id.as_str())
            .bind(key.account.as_ref().map(AccountId::as_str))
            .bind(key.scope.as_str())
            .bind(key.name.as_str())
            .bind(&chain::sha256(secret.as_bytes()))
            .bind(key.created_at.micros())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The key that `secret` is, unless it was revoked. A key has more entropy than
    /// can be guessed, so that looking up its hash leaks nothing of use.
    pub async fn key_by_secret(&self, secret: &str) -> Result<Option<ApiKey>> {
        let sql = "SELECT id, account, scope, name, created_at, revoked_at FROM api_key
                   WHERE hash = $1 AND revoked_at IS NULL";
        let hash = chain::sha256(secret.as_bytes());
        let row = Query::new(sql).bind(&hash).fetch_optional(&self.reader).await?;
        row.as_ref().map(api_key).transpose()
    }

    /// Oldest first, revoked ones too.
    pub async fn list_keys(&self) -> Result<Vec<ApiKey>> {
        let sql = "SELECT id, account, scope, name, created_at, revoked_at FROM api_key ORDER BY created_at, id";
        Query::new(sql).fetch_all(&self.reader).await?.iter().map(api_key).collect()
    }

    /// Returns whether there was such a key, not revoked before.
    pub async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<bool> {
        let sql = "UPDATE api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        Ok(Query::new(sql).bind(id).bind(now.micros()).execute(&self.writer).await? == 1)
    }
}
