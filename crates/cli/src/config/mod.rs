//! What is configured: flags over environment over `quittance.toml` over defaults.

mod checkpoints;
mod database;
mod endpoints;
mod file;
mod paypal;
mod retention;
mod secrets;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use domain::AccountId;
use engine::clients::paypal::PaypalVerifier;
use gateways::Gateway;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use server::client_address::{ForwardedHeader, Proxies};
use server::{Endpoint, Endpoints, PublicConfig};

use endpoints::{GivenSecrets, Parts};
use file::{File, Source};
use secrets::Lookup;

pub use checkpoints::Checkpoints;
pub use database::without_password;
pub use endpoints::given_endpoint;
pub use paypal::Paypal;
pub use retention::Retention;
pub use secrets::{secret, several};

const DATABASE_DEFAULT: &str = "sqlite:quittance.db";
const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
const LOG_DEFAULT: &str = "info";

/// What can be said on every command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// The configuration file [default: quittance.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE", display_order = 100)]
    pub config: Option<PathBuf>,
    /// The database, as `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE` [default: $DATABASE_URL, or sqlite:quittance.db]
    #[arg(long, global = true, value_name = "URL", display_order = 101)]
    pub database_url: Option<String>,
}

/// How many connections there may be; nothing where it is not configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub max: Option<usize>,
    pub of_an_address_max: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, if there is one.
    pub file: Option<PathBuf>,
    pub database_url: String,
    pub database: store::Options,
    pub listen: SocketAddr,
    pub log: String,
    /// Where that was said: a variable, or a key of the file.
    pub log_said_by: String,
    /// Where lines of the log are shipped to. A token may be part of it.
    pub logging_service_url: Option<SecretString>,
    pub checkpoints: Checkpoints,
    /// What links are made with, without a slash at the end.
    pub public_url: Option<String>,
    /// What everybody is told who asks.
    pub public: PublicConfig,
    pub connections: ConnectionLimits,
    pub retention: Retention,
    /// The merchant accounts, with what people call them.
    pub accounts: BTreeMap<AccountId, Option<String>>,
    /// Each account's way to PayPal.
    pub paypal: BTreeMap<AccountId, Paypal>,
    /// The files that all of this came from, whether they are there or not.
    pub read_from: Vec<PathBuf>,
    given: GivenSecrets,
    endpoints: Vec<Endpoint>,
    proxies: Proxies,
}

/// Where settings come from, so that tests need not change the process.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// An empty variable counts as unset.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Config {
    /// All of it, every secret looked up.
    pub fn load(flags: &Flags, listen: Option<SocketAddr>, environment: Environment<'_>) -> anyhow::Result<Self> {
        Self::read(flags, listen, environment, true)
    }

    /// Without endpoints and their secrets, for who works on the database: the secrets
    /// need not be at hand there.
    pub fn load_for_database(flags: &Flags, environment: Environment<'_>) -> anyhow::Result<Self> {
        Self::read(flags, None, environment, false)
    }

    fn read(
        flags: &Flags,
        listen: Option<SocketAddr>,
        environment: Environment<'_>,
        with_endpoints: bool,
    ) -> anyhow::Result<Self> {
        let (source, file) = file::read(flags.config.as_deref())?;
        let mut lookup = Lookup { environment, files: vec![source.path.clone()] };
        let accounts = accounts(&source, &file)?;
        let database_url = match flags.database_url.clone().or_else(|| environment("DATABASE_URL")) {
            Some(url) => url,
            None => match &file.database_url {
                Some(url) => lookup.secret("database_url", url)?.expose_secret().to_owned(),
                None => DATABASE_DEFAULT.to_owned(),
            },
        };
        let mut logging_service_url = None;
        let (mut paypal, mut given, mut endpoints) = Default::default();
        if with_endpoints {
            logging_service_url = logging_service(&file, &mut lookup)?;
            paypal = paypal::ways(&source, &file, &mut lookup)?;
            given = GivenSecrets::find(&file, &source, &mut lookup)?;
            let parts = Parts { source: &source, file: &file, given: &given, accounts: &accounts, paypal: &paypal };
            endpoints = parts.endpoints(&mut lookup)?;
        }
        let (log, log_said_by) = log(&source, &file, environment);
        Ok(Self {
            file: source.file(),
            database_url,
            database: database::options(&source, &file)?,
            listen: address(listen, &file, environment)?,
            log,
            log_said_by,
            logging_service_url,
            checkpoints: Checkpoints::of(&file, environment),
            public_url: public_url(&source, &file)?,
            public: public(&file, environment)?,
            connections: connections(&source, &file)?,
            retention: Retention::of(&source, &file)?,
            accounts,
            paypal,
            proxies: proxies(&source, &file)?,
            given,
            endpoints,
            read_from: lookup.files,
        })
    }

    /// Those that exist anyway, and those that are configured one by one; to look at.
    pub fn endpoints(&self) -> Endpoints {
        Endpoints::new(self.endpoints.iter().cloned()).behind(self.proxies.clone())
    }

    /// As [`Self::endpoints`], with all that it takes to serve them.
    pub fn endpoints_to_serve(&self) -> anyhow::Result<Endpoints> {
        let mut endpoints = self.endpoints.clone();
        let mut verifiers: HashMap<_, Arc<PaypalVerifier>> = HashMap::new();
        for endpoint in endpoints.iter_mut().filter(|endpoint| endpoint.gateway == Gateway::Paypal) {
            let way = (endpoint.account.clone(), endpoint.verification.as_str(), endpoint.mode);
            if !verifiers.contains_key(&way) {
                let paypal = self.paypal.get(&endpoint.account).cloned().unwrap_or_default();
                verifiers.insert(way.clone(), Arc::new(paypal.verifier(endpoint.verification, endpoint.mode)?));
            }
            endpoint.paypal = verifiers.get(&way).cloned();
        }
        Ok(Endpoints::new(endpoints).behind(self.proxies.clone()))
    }

    /// Takes over what can change while the process runs. The rest stays, so that the
    /// next comparison is with what the process really does.
    pub fn take(&mut self, new: Self) {
        *self = Self {
            database_url: std::mem::take(&mut self.database_url),
            database: self.database,
            listen: self.listen,
            log: std::mem::take(&mut self.log),
            log_said_by: std::mem::take(&mut self.log_said_by),
            logging_service_url: self.logging_service_url.take(),
            checkpoints: std::mem::take(&mut self.checkpoints),
            connections: self.connections,
            retention: self.retention,
            ..new
        };
    }

    /// The secrets of the paths that a gateway has without configuration; the first one
    /// is what to sign with.
    pub fn secrets_of(&self, gateway: Gateway) -> impl Iterator<Item = &SecretString> {
        self.given.texts(gateway)
    }
}

fn address(flag: Option<SocketAddr>, file: &File, environment: Environment<'_>) -> anyhow::Result<SocketAddr> {
    if let Some(listen) = flag {
        return Ok(listen);
    }
    let listen = match (environment("QUITTANCE_LISTEN"), environment("PORT")) {
        (Some(listen), _) => listen,
        (None, Some(port)) => {
            let port: u16 = port.parse().ok().with_context(|| format!("PORT={port:?} is no port"))?;
            format!("127.0.0.1:{port}")
        }
        (None, None) => file.listen.clone().unwrap_or_else(|| LISTEN_DEFAULT.to_owned()),
    };
    let parsed = listen.parse().ok();
    parsed.with_context(|| format!("listen: {listen:?} is no IP address and port like {LISTEN_DEFAULT}"))
}

/// The levels to log at, and where they were said.
fn log(source: &Source, file: &File, environment: Environment<'_>) -> (String, String) {
    match (environment("QUITTANCE_LOG"), &file.log) {
        (None, Some(levels)) => (levels.clone(), format!("{}: log", source.path.display())),
        (levels, _) => (levels.unwrap_or_else(|| LOG_DEFAULT.to_owned()), "QUITTANCE_LOG".to_owned()),
    }
}

fn logging_service(file: &File, lookup: &mut Lookup<'_>) -> anyhow::Result<Option<SecretString>> {
    let (setting, said) = match (lookup.environment)("LOGGING_SERVICE_URL") {
        Some(url) => ("LOGGING_SERVICE_URL", Some(SecretString::from(url))),
        None => ("logging_service_url", file.logging_service_url.clone()),
    };
    let Some(said) = said else { return Ok(None) };
    let url = lookup.secret(setting, &said)?;
    if !is_web_address(url.expose_secret()) {
        bail!("{setting} is no URL like https://logs.example.com/ingest");
    }
    Ok(Some(url))
}

/// `default`, and those that the file names.
fn accounts(source: &Source, file: &File) -> anyhow::Result<BTreeMap<AccountId, Option<String>>> {
    let mut accounts = BTreeMap::from([(AccountId::default(), None)]);
    for (name, account) in &file.accounts {
        let called = account.name.clone();
        let account = AccountId::parse(name.get_ref()).with_context(|| {
            let here = source.at(name.span(), "accounts");
            format!("{here}: {:?} is no account: it is 1 to 64 letters, digits, `-`, `_` or `.`", name.get_ref())
        })?;
        accounts.insert(account, called);
    }
    Ok(accounts)
}

/// Whether it is an address that can be posted to.
pub fn is_web_address(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn public_url(source: &Source, file: &File) -> anyhow::Result<Option<String>> {
    let Some(url) = &file.public_url else { return Ok(None) };
    let text = url.get_ref();
    if !is_web_address(text) || text.contains(['?', '#']) {
        bail!("{}: {text:?} is no URL like https://pay.example.com", source.at(url.span(), "public_url"));
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

/// How Stripe's keys begin that nobody else may know.
/// <https://docs.stripe.com/keys>
const SECRET_PREFIXES: [&str; 3] = ["sk_", "rk_", "whsec_"];

fn public(file: &File, environment: Environment<'_>) -> anyhow::Result<PublicConfig> {
    let (key, name) = match environment("STRIPE_PUBLISHABLE_KEY") {
        Some(key) => (Some(key), "STRIPE_PUBLISHABLE_KEY"),
        None => (file.stripe.publishable_key.clone(), "stripe.publishable_key"),
    };
    if key.as_ref().is_some_and(|key| SECRET_PREFIXES.iter().any(|prefix| key.starts_with(prefix))) {
        bail!("{name} is a secret key, and would be shown to everybody: give the one that begins with pk_");
    }
    Ok(PublicConfig { stripe_publishable_key: key })
}

fn connections(source: &Source, file: &File) -> anyhow::Result<ConnectionLimits> {
    let number = |value: &Option<toml::Spanned<u64>>, key: &str| match value {
        None => Ok(None),
        Some(number) => match usize::try_from(*number.get_ref()) {
            Ok(number) if (1..=1_000_000).contains(&number) => Ok(Some(number)),
            _ => bail!("{}: it is a number from 1 to 1000000", source.at(number.span(), key)),
        },
    };
    Ok(ConnectionLimits {
        max: number(&file.connections.max, "connections.max")?,
        of_an_address_max: number(&file.connections.per_address, "connections.per_address")?,
    })
}

fn proxies(source: &Source, file: &File) -> anyhow::Result<Proxies> {
    let mut trusted = Vec::new();
    for net in &file.trusted_proxies {
        let text = net.get_ref();
        let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        trusted.push(parsed.with_context(|| {
            let here = source.at(net.span(), "trusted_proxies");
            format!("{here}: {text:?} is no address like 10.0.0.1 and no network like 10.0.0.0/8")
        })?);
    }
    let header = match &file.forwarded_header {
        None => ForwardedHeader::default(),
        Some(name) => {
            let known = |header: &ForwardedHeader| name.get_ref().eq_ignore_ascii_case(header.as_str());
            ForwardedHeader::ALL.into_iter().find(known).with_context(|| {
                format!("{}: it is X-Forwarded-For or Forwarded", source.at(name.span(), "forwarded_header"))
            })?
        }
    };
    Ok(Proxies::new(trusted, header))
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
        Config::load(&flags, listen.map(|listen| listen.parse().expect("an address")), &environment)
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
    fn secrets_are_found_where_they_are_said_to_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "whsec_from_file\n").expect("writes");
        let list = format!("whsec_plain,env:OTHER,file:{}", path.display());
        let config = load(None, &[("STRIPE_WEBHOOK_SECRET", &list), ("OTHER", "whsec_from_env")], None).expect("loads");
        let found: Vec<&str> = config.secrets_of(Gateway::Stripe).map(ExposeSecret::expose_secret).collect();
        assert_eq!(found, ["whsec_plain", "whsec_from_env", "whsec_from_file"]);
        assert!(!format!("{config:?}").contains("whsec_"), "{config:?}");
    }
}
