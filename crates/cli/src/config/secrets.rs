//! Secrets, given as they are, as `env:NAME`, or as `file:PATH`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use domain::Timestamp;
use gateways::Gateway;
use secrecy::{ExposeSecret, SecretString};
use toml::Spanned;

use super::Environment;
use super::file::{self, Source};

/// A secret that was found, and from when on it counts no more.
#[derive(Clone, Debug)]
pub struct Found {
    pub text: SecretString,
    pub expires_at: Option<Timestamp>,
}

/// Looks secrets up, and keeps which files they came from.
pub struct Lookup<'a> {
    pub environment: Environment<'a>,
    pub files: Vec<PathBuf>,
}

impl Lookup<'_> {
    /// The secret that is said here, where it may be one reference.
    pub fn secret(&mut self, setting: &str, text: &SecretString) -> anyhow::Result<SecretString> {
        self.remember(text);
        secret(setting, text, self.environment)
    }

    fn remember(&mut self, text: &SecretString) {
        if let Some(path) = text.expose_secret().strip_prefix("file:") {
            self.files.push(PathBuf::from(path));
        }
    }

    /// Those that a variable of Quittance's own holds: several of them, separated by
    /// commas, at gateways whose secrets hold no comma.
    pub fn in_variable(&mut self, variable: &str, gateway: Gateway, value: &str) -> anyhow::Result<Vec<Found>> {
        let items: Vec<&str> = if has_no_comma(gateway) { value.split(',').collect() } else { vec![value] };
        let mut found = Vec::new();
        for item in items {
            let text = self.secret(variable, &SecretString::from(item))?;
            self.check(variable, gateway, &text)?;
            found.push(Found { text, expires_at: None });
        }
        Ok(found)
    }

    /// Those that a list in the file names; `key` is the list's.
    pub fn in_file(
        &mut self,
        source: &Source,
        key: &str,
        gateway: Gateway,
        list: &[Spanned<file::Secret>],
    ) -> anyhow::Result<Vec<Found>> {
        let mut found = Vec::new();
        for item in list {
            let setting = source.at(item.span(), key);
            let expires_at = match &item.get_ref().expires {
                Some(value) => Some(instant(value).with_context(|| {
                    format!("{setting}: expires is a date like 2026-12-31, or an instant like 2026-12-31T00:00:00Z")
                })?),
                None => None,
            };
            self.remember(&item.get_ref().value);
            for part in several(&setting, gateway, &item.get_ref().value, self.environment)? {
                let text = sound(&setting, part)?;
                self.check(&setting, gateway, &text)?;
                found.push(Found { text, expires_at });
            }
        }
        Ok(found)
    }

    fn check(&self, setting: &str, gateway: Gateway, text: &SecretString) -> anyhow::Result<()> {
        gateway.secret(text).map(|_| ()).map_err(|why| anyhow::anyhow!("{setting}: {why}"))
    }
}

/// Stripe makes its secrets, and PayPal its webhooks' ids, of letters, digits and `_`.
const fn has_no_comma(gateway: Gateway) -> bool {
    matches!(gateway, Gateway::Stripe | Gateway::Paypal)
}

/// A day stands for its first moment, in UTC.
fn instant(value: &toml::Value) -> Option<Timestamp> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Datetime(written) => written.to_string(),
        _ => return None,
    };
    Timestamp::parse(&text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
}

/// White space around a secret is refused rather than cut, because it is part of the
/// key that signatures are made with.
pub fn secret(setting: &str, text: &SecretString, environment: Environment<'_>) -> anyhow::Result<SecretString> {
    sound(setting, follow(setting, text, environment)?)
}

fn sound(setting: &str, text: SecretString) -> anyhow::Result<SecretString> {
    let exposed = text.expose_secret();
    if exposed.is_empty() {
        bail!("{setting}: a secret is empty");
    }
    if exposed.trim() != exposed {
        bail!("{setting}: a secret has white space around it; remove it");
    }
    Ok(text)
}

/// As [`follow`]; a variable may hold several, as it may where it is read by its own name.
pub fn several(
    setting: &str,
    gateway: Gateway,
    text: &SecretString,
    environment: Environment<'_>,
) -> anyhow::Result<Vec<SecretString>> {
    let whole = follow(setting, text, environment)?;
    match text.expose_secret().starts_with("env:") && has_no_comma(gateway) {
        true => Ok(whole.expose_secret().split(',').map(SecretString::from).collect()),
        false => Ok(vec![whole]),
    }
}

/// Follows `env:NAME` and `file:PATH`; anything else is the secret itself.
fn follow(setting: &str, text: &SecretString, environment: Environment<'_>) -> anyhow::Result<SecretString> {
    let exposed = text.expose_secret();
    let found = if let Some(name) = exposed.strip_prefix("env:") {
        environment(name).with_context(|| format!("{setting}: the variable {name} is not set"))?
    } else if let Some(path) = exposed.strip_prefix("file:") {
        let content =
            std::fs::read_to_string(path).with_context(|| format!("{setting}: the file {path} cannot be read"))?;
        let line = content.strip_suffix('\n').unwrap_or(&content); // Editors end files so.
        line.strip_suffix('\r').unwrap_or(line).to_owned()
    } else {
        exposed.to_owned()
    };
    Ok(SecretString::from(found))
}
