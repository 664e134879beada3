//! The way to PayPal: with which client its API is called, where, and whose word is
//! taken for its certificates.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use domain::{AccountId, Mode};
use engine::clients::paypal::{Credentials, LIVE_BASE, PaypalVerifier};
use gateways::paypal::{Trust, environment_of_base};
use secrecy::SecretString;
use server::endpoint::Verification;
use toml::Spanned;

use super::file::{File, Source};
use super::secrets::Lookup;

/// An account's way to PayPal.
#[derive(Clone, Debug, Default)]
pub struct Paypal {
    /// The account's own client, which PayPal calls an app.
    pub credentials: Option<Credentials>,
    /// Without a slash at the end; PayPal's own where there is none.
    pub api_base: Option<String>,
    /// Trusted for PayPal's certificates beside the public roots, in PEM.
    pub roots: Option<Vec<u8>>,
}

impl Paypal {
    /// What verifies the deliveries at an endpoint.
    pub fn verifier(&self, verification: Verification, mode: Option<Mode>) -> anyhow::Result<PaypalVerifier> {
        let base = self.api_base.as_deref();
        Ok(match (verification, &self.credentials) {
            (Verification::Postback, Some(credentials)) => {
                PaypalVerifier::by_postback(credentials.clone(), base.unwrap_or(LIVE_BASE))?
            }
            (Verification::Postback, None) => bail!("PayPal cannot be asked without client_id and client_secret"),
            (Verification::Certificate, _) => {
                let mut trust = Trust::public(mode.or_else(|| base.and_then(environment_of_base)));
                if let Some(roots) = &self.roots {
                    trust = trust.with_roots(roots)?;
                }
                PaypalVerifier::by_certificate(trust, self.api_base.clone())?
            }
        })
    }
}

/// What is said of one account.
struct Written<'a> {
    section: String,
    id: Option<SecretString>,
    secret: Option<SecretString>,
    api_base: Option<(String, &'a str)>,
    roots: Option<&'a Spanned<PathBuf>>,
}

/// Those that are configured: of the account `default` by environment or `[paypal]`, of
/// another one by `[accounts.NAME.paypal]`.
pub fn ways(source: &Source, file: &File, lookup: &mut Lookup<'_>) -> anyhow::Result<BTreeMap<AccountId, Paypal>> {
    let mut ways = BTreeMap::new();
    let environment = lookup.environment;
    let mut default = |variable: &str, key: &str, in_file: Option<&SecretString>| match environment(variable) {
        Some(value) => lookup.secret(variable, &SecretString::from(value)).map(Some),
        None => in_file.map(|text| lookup.secret(key, text)).transpose(),
    };
    let base_variable = environment("PAYPAL_API_BASE");
    let written = Written {
        section: "paypal".to_owned(),
        id: default("PAYPAL_CLIENT_ID", "paypal.client_id", file.paypal.client_id.as_ref())?,
        secret: default("PAYPAL_CLIENT_SECRET", "paypal.client_secret", file.paypal.client_secret.as_ref())?,
        api_base: match &base_variable {
            Some(base) => Some(("PAYPAL_API_BASE".to_owned(), base)),
            None => api_base(source, "paypal", file.paypal.api_base.as_ref()),
        },
        roots: file.paypal.certificate_roots.as_ref(),
    };
    ways.insert(AccountId::default(), way(source, written, lookup)?);
    for (name, account) in &file.accounts {
        let section = format!("accounts.{}.paypal", name.get_ref());
        let mut look = |key: &str, text: &Option<SecretString>| {
            text.as_ref().map(|text| lookup.secret(&format!("{section}.{key}"), text)).transpose()
        };
        let written = Written {
            id: look("client_id", &account.paypal.client_id)?,
            secret: look("client_secret", &account.paypal.client_secret)?,
            api_base: api_base(source, &section, account.paypal.api_base.as_ref()),
            roots: account.paypal.certificate_roots.as_ref(),
            section,
        };
        let is_said = written.id.is_some() || written.api_base.is_some() || written.roots.is_some();
        let account = AccountId::parse(name.get_ref()).context("an account's name was checked before")?;
        if account != AccountId::default() {
            ways.insert(account, way(source, written, lookup)?);
        } else if is_said {
            bail!("{}: the account default is set up in [paypal]", source.at(name.span(), &written.section));
        }
    }
    Ok(ways)
}

fn api_base<'a>(source: &Source, section: &str, written: Option<&'a Spanned<String>>) -> Option<(String, &'a str)> {
    written.map(|base| (source.at(base.span(), &format!("{section}.api_base")), base.get_ref().as_str()))
}

fn way(source: &Source, written: Written<'_>, lookup: &mut Lookup<'_>) -> anyhow::Result<Paypal> {
    let Written { section, id, secret, api_base, roots } = written;
    let api_base = match api_base {
        None => None,
        Some((_, base)) if is_safe(base) => Some(base.trim_end_matches('/').to_owned()),
        Some((setting, _)) => bail!("{setting}: it is a URL like {LIVE_BASE}, with https"),
    };
    let roots = match roots {
        None => None,
        Some(path) => {
            let key = || source.at(path.span(), &format!("{section}.certificate_roots"));
            lookup.files.push(path.get_ref().clone());
            let pem = std::fs::read(path.get_ref())
                .with_context(|| format!("{}: {} cannot be read", key(), path.get_ref().display()))?;
            Trust::public(None).with_roots(&pem).with_context(key)?;
            Some(pem)
        }
    };
    let credentials = match (id, secret) {
        (Some(client_id), Some(client_secret)) => Some(Credentials { client_id, client_secret }),
        (None, None) => None,
        (Some(_), None) => bail!("{section}.client_secret is missing; PayPal is called with both or not at all"),
        (None, Some(_)) => bail!("{section}.client_id is missing; PayPal is called with both or not at all"),
    };
    Ok(Paypal { credentials, api_base, roots })
}

/// A key is not sent in the clear, but to a stand-in on this machine.
fn is_safe(base: &str) -> bool {
    let url = reqwest::Url::parse(base).ok().filter(|url| url.query().is_none() && url.fragment().is_none());
    url.is_some_and(|url| {
        url.scheme() == "https" || (url.scheme() == "http" && url.host_str().is_some_and(is_this_machine))
    })
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
