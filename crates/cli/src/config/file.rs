//! `quittance.toml`, as it is written. What its values mean is said elsewhere.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use toml::Spanned;

const FILE_DEFAULT: &str = "quittance.toml";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub database_url: Option<SecretString>,
    #[serde(default)]
    pub database: Database,
    pub listen: Option<String>,
    pub log: Option<String>,
    pub logging_service_url: Option<SecretString>,
    pub checkpoint_key: Option<SecretString>,
    pub checkpoint_file: Option<PathBuf>,
    pub public_url: Option<Spanned<String>>,
    #[serde(default)]
    pub trusted_proxies: Vec<Spanned<String>>,
    pub forwarded_header: Option<Spanned<String>>,
    #[serde(default)]
    pub connections: Connections,
    #[serde(default)]
    pub retention: Retention,
    #[serde(default)]
    pub stripe: Stripe,
    #[serde(default)]
    pub paypal: Paypal,
    #[serde(default)]
    pub generic: Generic,
    #[serde(default)]
    pub microservice: Microservice,
    #[serde(default)]
    pub accounts: BTreeMap<Spanned<String>, Account>,
    #[serde(default)]
    pub endpoints: Vec<Spanned<Endpoint>>,
}

/// Of PostgreSQL.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub connections: Option<Spanned<u64>>,
    pub lanes: Option<Spanned<u64>>,
    pub statement_timeout_seconds: Option<Spanned<u64>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    pub max: Option<Spanned<u64>>,
    pub per_address: Option<Spanned<u64>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub bodies: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripe {
    #[serde(default)]
    pub webhook_secrets: Vec<Spanned<Secret>>,
    pub publishable_key: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paypal {
    #[serde(default)]
    pub webhook_ids: Vec<Spanned<Secret>>,
    pub verification: Option<Spanned<String>>,
    pub client_id: Option<SecretString>,
    pub client_secret: Option<SecretString>,
    pub api_base: Option<Spanned<String>>,
    pub certificate_roots: Option<Spanned<PathBuf>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generic {
    #[serde(default)]
    pub webhook_secrets: Vec<Spanned<Secret>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Microservice {
    #[serde(default)]
    pub api_keys: Vec<Spanned<Secret>>,
}

/// A merchant account beside `default`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// For people.
    pub name: Option<String>,
    #[serde(default)]
    pub paypal: AccountPaypal,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountPaypal {
    pub client_id: Option<SecretString>,
    pub client_secret: Option<SecretString>,
    pub api_base: Option<Spanned<String>>,
    pub certificate_roots: Option<Spanned<PathBuf>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub name: Option<Spanned<String>>,
    pub path: Option<Spanned<String>>,
    pub gateway: Option<Spanned<String>>,
    pub account: Option<Spanned<String>>,
    #[serde(default)]
    pub secrets: Vec<Spanned<Secret>>,
    pub reply: Option<Spanned<String>>,
    pub unmatched: Option<Spanned<String>>,
    pub on_amount_mismatch: Option<Spanned<String>>,
    pub verification: Option<Spanned<String>>,
    pub mode: Option<Spanned<String>>,
    #[serde(default)]
    pub connected_accounts: Vec<String>,
    #[serde(default)]
    pub limits: Limits,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub body_bytes: Option<Spanned<u64>>,
    pub tolerance_seconds: Option<Spanned<u64>>,
    pub requests_per_second: Option<Spanned<u64>>,
    pub burst: Option<Spanned<u64>>,
    pub total_requests_per_second: Option<Spanned<u64>>,
    pub total_burst: Option<Spanned<u64>>,
    pub failed_signatures_per_minute: Option<Spanned<u64>>,
}

/// `"…"`, or `{ value = "…", expires = "…" }`; the value is the secret itself or a
/// reference to it (`env:NAME`, `file:PATH`).
#[derive(Clone, Debug)]
pub struct Secret {
    pub value: SecretString,
    pub expires: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretTable {
    value: SecretString,
    expires: Option<toml::Value>,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Secret;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a secret, or a table of its value and when it expires")
            }

            fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret { value: SecretString::from(text), expires: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                let SecretTable { value, expires } = SecretTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Secret { value, expires })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Where a value was written, so that a mistake can be named by its line.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file, whether it is there or not.
    pub path: PathBuf,
    /// Nothing where there is no file.
    text: Option<String>,
}

impl Source {
    /// The file, if there is one.
    pub fn file(&self) -> Option<PathBuf> {
        self.text.is_some().then(|| self.path.clone())
    }

    /// `quittance.toml, line 7: endpoints.till.gateway`
    pub fn at(&self, span: Range<usize>, key: &str) -> String {
        let text = self.text.as_deref().unwrap_or_default();
        format!("{}, line {}: {key}", self.path.display(), line_at(text, span.start))
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Reads the file that was asked for, or the one that is looked for, which need not be.
pub fn read(path: Option<&Path>) -> anyhow::Result<(Source, File)> {
    let (path, asked_for) = (path.unwrap_or(Path::new(FILE_DEFAULT)), path.is_some());
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let file = toml::from_str(&text).map_err(|error| mistake(path, &text, &error))?;
            Ok((Source { path: path.to_owned(), text: Some(text) }, file))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => {
            Ok((Source { path: path.to_owned(), text: None }, File::default()))
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Names the line and what is wrong with it. Never shows the line, nor a value of it:
/// it may be a secret.
fn mistake(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let line = error.span().map_or(1, |span| line_at(text, span.start));
    let message = error.message();
    let said = match message.split_once(": string \"") {
        Some((before, value)) => {
            let after = value.rsplit_once("\", ").map_or("", |(_, after)| after);
            format!("{before}: a text, {after}")
        }
        None => message.to_owned(),
    };
    anyhow::anyhow!("{}, line {line}: {said}", path.display())
}
