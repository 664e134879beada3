//! What is configured: flags over environment over `quittance.toml` over defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use gateways::Secret;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use server::{Endpoint, Endpoints};

const FILE_DEFAULT: &str = "quittance.toml";
const DATABASE_DEFAULT: &str = "sqlite:quittance.db";
const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
const LOG_DEFAULT: &str = "info";

/// Paths that take Stripe's deliveries without any configuration.
const STRIPE_PATHS: [&str; 2] = ["/api/webhooks/stripe", "/payments/webhook"];

/// What can be said on every command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// The configuration file [default: quittance.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE", display_order = 100)]
    pub config: Option<PathBuf>,
    /// The database, as `sqlite:FILE` [default: $DATABASE_URL, or sqlite:quittance.db]
    #[arg(long, global = true, value_name = "URL", display_order = 101)]
    pub database_url: Option<String>,
}

/// `quittance.toml`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    database_url: Option<String>,
    listen: Option<String>,
    log: Option<String>,
    #[serde(default)]
    stripe: StripeFile,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StripeFile {
    /// Each a reference (`env:NAME`, `file:PATH`) or the secret itself.
    #[serde(default)]
    webhook_secrets: Vec<SecretString>,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, if there is one.
    pub file: Option<PathBuf>,
    pub database_url: String,
    pub listen: SocketAddr,
    pub log: String,
    pub stripe_secrets: Vec<SecretString>,
}

/// Where settings come from, so that tests need not change the process.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// An empty variable counts as unset.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Config {
    pub fn load(flags: &Flags, listen: Option<&str>, environment: Environment<'_>) -> anyhow::Result<Self> {
        let (path, file) = read_file(flags.config.as_deref())?;
        let setting = |flag: Option<String>, variable: &str, in_file: Option<String>, default: &str| {
            flag.or_else(|| environment(variable)).or(in_file).unwrap_or_else(|| default.to_owned())
        };
        let listen = match listen.map(str::to_owned).or_else(|| environment("QUITTANCE_LISTEN")) {
            Some(listen) => listen,
            None => match environment("PORT") {
                Some(port) => {
                    let port: u16 = port.parse().ok().with_context(|| format!("PORT={port:?} is no port"))?;
                    format!("127.0.0.1:{port}")
                }
                None => file.listen.unwrap_or_else(|| LISTEN_DEFAULT.to_owned()),
            },
        };
        let mut stripe_secrets = Vec::new();
        if let Some(list) = environment("STRIPE_WEBHOOK_SECRET") {
            for item in list.split(',') {
                stripe_secrets.push(secret("STRIPE_WEBHOOK_SECRET", &SecretString::from(item), environment)?);
            }
        } else {
            for item in &file.stripe.webhook_secrets {
                stripe_secrets.push(secret("stripe.webhook_secrets", item, environment)?);
            }
        }
        Ok(Self {
            file: path,
            database_url: setting(flags.database_url.clone(), "DATABASE_URL", file.database_url, DATABASE_DEFAULT),
            listen: listen
                .parse()
                .ok()
                .with_context(|| format!("listen: {listen:?} is no IP address and port like {LISTEN_DEFAULT}"))?,
            log: setting(None, "QUITTANCE_LOG", file.log, LOG_DEFAULT),
            stripe_secrets,
        })
    }

    /// The endpoints that exist without being configured one by one.
    pub fn endpoints(&self) -> Endpoints {
        let secrets: Vec<Secret> = self.stripe_secrets.iter().map(Secret::from_text).collect();
        Endpoints::new(STRIPE_PATHS.map(|path| Endpoint::stripe(path, secrets.clone())))
    }
}

fn read_file(path: Option<&Path>) -> anyhow::Result<(Option<PathBuf>, File)> {
    let (path, asked_for) = (path.unwrap_or(Path::new(FILE_DEFAULT)), path.is_some());
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let file = toml::from_str(&text).map_err(|error| mistake(path, &text, &error))?;
            Ok((Some(path.to_owned()), file))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => Ok((None, File::default())),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Names the line and what is wrong with it. Never shows the line, nor a value of it:
/// it may be a secret.
fn mistake(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
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

/// A database's URL without its password, for people.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    match authority.rsplit_once('@') {
        Some((user, _)) => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{name}:…@{}", &rest[user.len() + 1..])
        }
        None => url.to_owned(),
    }
}

/// White space around a secret is refused rather than cut, because it is part of the
/// key that signatures are made with.
pub fn secret(setting: &str, text: &SecretString, environment: Environment<'_>) -> anyhow::Result<SecretString> {
    let found = follow(setting, text, environment)?;
    let exposed = found.expose_secret();
    if exposed.is_empty() {
        bail!("{setting}: a secret is empty");
    }
    if exposed.trim() != exposed {
        bail!("{setting}: a secret has white space around it; remove it");
    }
    Ok(found)
}

/// Follows `env:NAME` and `file:PATH`; anything else is the secret itself.
pub fn follow(setting: &str, text: &SecretString, environment: Environment<'_>) -> anyhow::Result<SecretString> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: Option<&str>, variables: &[(&str, &str)], listen: Option<&str>) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("quittance.toml");
        std::fs::write(&path, file.unwrap_or_default())?;
        let flags = Flags { config: Some(path), database_url: None };
        let environment =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Config::load(&flags, listen, &environment)
    }

    #[test]
    fn flags_go_over_environment_over_file_over_defaults() {
        let file = Some("listen = \"127.0.0.1:1\"\nlog = \"warn\"");
        let listen = |variables: &[(&str, &str)], flag| load(file, variables, flag).expect("loads").listen.port();
        assert_eq!(listen(&[], None), 1);
        assert_eq!(listen(&[("PORT", "2")], None), 2);
        assert_eq!(listen(&[("PORT", "2"), ("QUITTANCE_LISTEN", "127.0.0.1:3")], None), 3);
        assert_eq!(listen(&[("QUITTANCE_LISTEN", "127.0.0.1:3")], Some("127.0.0.1:4")), 4);
        let defaults = load(None, &[], None).expect("loads");
        assert_eq!((defaults.listen.port(), defaults.log.as_str()), (8080, "info"));
        assert_eq!(defaults.database_url, "sqlite:quittance.db");
    }

    #[test]
    fn mistakes_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let blank = folder.path().join("blank");
        std::fs::write(&blank, "whsec_x \n").expect("writes");
        let blank = format!("file:{}", blank.display());
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let cases: [Case<'_>; 12] = [
            ("lisen = \"x\"", &[], "lisen"),
            ("log = \"info\"\nlisen = \"x\"", &[], "line 2"),
            ("[stripe]\nwebhook_secrets = \"whsec_a\"", &[], "line 2"),
            ("stripe = \"whsec_a\"", &[], "a text"),
            ("[stripe]\nwebhook_secrets = [\"whsec_a", &[], "line 2"),
            ("", &[("PORT", "http")], "PORT=\"http\""),
            ("[stripe]\nsecret = \"x\"", &[], "secret"),
            ("listen = \"here\"", &[], "here"),
            ("", &[("STRIPE_WEBHOOK_SECRET", "env:NOWHERE")], "NOWHERE"),
            ("", &[("STRIPE_WEBHOOK_SECRET", "file:/no/such/file")], "/no/such/file"),
            ("", &[("STRIPE_WEBHOOK_SECRET", "whsec_a, whsec_b")], "white space"),
            ("", &[("STRIPE_WEBHOOK_SECRET", &blank)], "white space"),
        ];
        for (file, variables, named) in cases {
            let error = load(Some(file), variables, None).expect_err(named);
            assert!(format!("{error:#}").contains(named), "{error:#} should name {named}");
            assert!(!format!("{error:#}").contains("whsec_"), "{error:#} shows a secret");
            assert!(!format!("{error:#}").contains('\n'), "{error:#} is more than a line");
        }
    }

    #[test]
    fn a_database_is_shown_without_its_password() {
        for (url, shown) in [
            ("sqlite:quittance.db", "sqlite:quittance.db"),
            ("postgres://db:5432/shop", "postgres://db:5432/shop"),
            ("postgres://me:p@ss@db:5432/shop", "postgres://me:…@db:5432/shop"),
            ("postgres://me@db/shop@home", "postgres://me:…@db/shop@home"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn secrets_are_found_where_they_are_said_to_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "whsec_from_file\n").expect("writes");
        let list = format!("whsec_plain,env:OTHER,file:{}", path.display());
        let config = load(None, &[("STRIPE_WEBHOOK_SECRET", &list), ("OTHER", "whsec_from_env")], None).expect("loads");
        let found: Vec<&str> = config.stripe_secrets.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(found, ["whsec_plain", "whsec_from_env", "whsec_from_file"]);
        assert!(!format!("{config:?}").contains("whsec_"), "{config:?}");
    }
}
