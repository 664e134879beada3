//! `quittance config check`

use std::process::ExitCode;

use domain::Timestamp;
use engine::Clock;
use gateways::Gateway;
use server::Endpoint;
use store::{Condition, Durability, Store};

use crate::config::{Config, Flags, process_environment, without_password};
use crate::output::{count, line};
use crate::{say, telemetry};

/// A secret that expires within this is warned of.
const EXPIRES_SOON_MICROS: i64 = 14 * DAY_MICROS;
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// Stripe and PayPal try a delivery again for three days.
/// <https://docs.stripe.com/webhooks#automatic-retries>
/// <https://developer.paypal.com/api/rest/webhooks/rest/#link-messageretries>
const RETENTION_DAYS_MIN: u64 = 4;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say what is configured and what is missing, never a secret
    Check {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(command: &Command, flags: &Flags) -> anyhow::Result<ExitCode> {
    let Command::Check { json } = command;
    let config = Config::load(flags, None, &process_environment)?;
    telemetry::filter(&config.log, &config.log_said_by)?;
    let endpoints = config.endpoints();
    let now = Clock::System.now();
    let runs = |endpoint: &Endpoint| !endpoint.secrets.at(now).is_empty();
    let database = database_state(&config.database_url).await;
    let (usable, state) = match &database {
        Ok(state) => (true, (*state).to_owned()),
        Err(error) => (false, format!("not usable: {}", line(error))),
    };
    let mut warnings = warnings(&config, now);
    if usable {
        warnings.extend(of_durability(&config.database_url).await?);
    }
    let signs = config.checkpoints.key(&process_environment)?.is_some();
    if *json {
        let endpoints: Vec<_> = endpoints.iter().map(|endpoint| as_json(endpoint, runs(endpoint))).collect();
        let report = serde_json::json!({
            "file": config.file, "database_url": without_password(&config.database_url), "database": state,
            "listen": config.listen, "log": config.log, "logs_shipped": config.logging_service_url.is_some(),
            "checkpoints": { "signed": signs, "file": config.checkpoints.file },
            "retention": { "bodies_days": config.retention.days() },
            "public_url": config.public_url, "accounts": config.accounts.keys().collect::<Vec<_>>(),
            "endpoints": endpoints, "warnings": warnings,
        });
        say!("{report}")?;
    } else {
        match &config.file {
            Some(path) => say!("file       {}", path.display())?,
            None => say!("file       none (quittance.toml is not there)")?,
        }
        say!("database   {} ({state})", without_password(&config.database_url))?;
        say!("listen     {}", config.listen)?;
        let shipped = if config.logging_service_url.is_some() { ", shipped to LOGGING_SERVICE_URL" } else { "" };
        say!("log        {}{shipped}", config.log)?;
        say!("checkpoint {}", checkpoints(signs, &config))?;
        match config.retention.days() {
            Some(days) => say!("bodies     dropped after {}", count(days, "day"))?,
            None => say!("bodies     kept")?,
        }
        say!("public     {}", config.public_url.as_deref().unwrap_or("no public_url"))?;
        for (account, name) in &config.accounts {
            let name = name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
            say!("account    {account}{name}")?;
        }
        for endpoint in endpoints.iter() {
            say!("endpoint   {}", as_line(endpoint, runs(endpoint)))?;
        }
        for warning in &warnings {
            say!("warning    {warning}")?;
        }
    }
    Ok(if usable && endpoints.iter().any(runs) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the checkpoints of the hash chain are worth, for people.
fn checkpoints(signs: bool, config: &Config) -> String {
    let file = config.checkpoints.file.as_ref().map_or(String::new(), |file| format!(" and in {}", file.display()));
    match signs {
        true => format!("signed, in the log{file}"),
        false => format!(
            "unsigned, in the log{file}: whoever can edit both that and the database can hide that the newest events \
             were removed; set QUITTANCE_CHECKPOINT_KEY"
        ),
    }
}

/// Why an endpoint does not run, for people.
fn missing(endpoint: &Endpoint) -> String {
    match endpoint.secrets.is_empty() {
        true => format!("set {}", endpoint.set_by),
        false => format!("every secret has expired, set {}", endpoint.set_by),
    }
}

fn as_line(endpoint: &Endpoint, runs: bool) -> String {
    let state = match runs {
        true => format!("runs, {}", count(endpoint.secrets.len() as u64, "secret")),
        false => format!("does not run: {}", missing(endpoint)),
    };
    let expiries: String = endpoint.secrets.expiries().map(|at| format!(", one expires at {at}")).collect();
    let (reply, unmatched) = (endpoint.reply.as_str(), endpoint.unmatched.as_str());
    let mut behaviour = format!("reply {reply}, unmatched {unmatched}, {}", endpoint.on_amount_mismatch.as_str());
    if endpoint.gateway == Gateway::Paypal {
        behaviour.push_str(&format!(", verification {}", endpoint.verification.as_str()));
    }
    if let Some(mode) = endpoint.mode {
        behaviour.push_str(&format!(", {} mode only", mode.as_str()));
    }
    let (path, gateway, account) = (&endpoint.path, endpoint.gateway.as_str(), &endpoint.account);
    format!("POST {path} ({gateway}, account {account}): {state}{expiries}; {behaviour}")
}

fn as_json(endpoint: &Endpoint, runs: bool) -> serde_json::Value {
    serde_json::json!({
        "path": endpoint.path, "gateway": endpoint.gateway.as_str(), "account": endpoint.account,
        "reply": endpoint.reply.as_str(), "unmatched": endpoint.unmatched.as_str(),
        "on_amount_mismatch": endpoint.on_amount_mismatch.as_str(),
        "verification": (endpoint.gateway == Gateway::Paypal).then(|| endpoint.verification.as_str()),
        "mode": endpoint.mode.map(domain::Mode::as_str), "connected_accounts": endpoint.connected_accounts,
        "secrets": endpoint.secrets.len(),
        "expiries": endpoint.secrets.expiries().map(|at| at.to_string()).collect::<Vec<_>>(),
        "runs": runs, "set": (!runs).then_some(&endpoint.set_by),
        "body_bytes": endpoint.limits.body_bytes_max, "tolerance_seconds": endpoint.limits.tolerance_seconds,
    })
}

/// Looks without changing anything: a file that is not there is not made, one that is
/// there is only read.
async fn database_state(url: &str) -> anyhow::Result<&'static str> {
    super::known_database(url)?;
    match Store::inspect(url).await? {
        Condition::Missing => Ok("not there yet; serve makes it"),
        Condition::Empty => Ok("empty; migrate or serve fills it"),
        Condition::Current => Ok("at this version"),
        Condition::Older => Ok("older than this version; migrate or serve brings it up"),
        Condition::Newer => anyhow::bail!("it is of a later version of Quittance"),
        Condition::Foreign => anyhow::bail!("it holds the tables of another program; name a database of its own"),
    }
}

/// What at the database would weaken the promise that what was acknowledged is not lost.
async fn of_durability(url: &str) -> anyhow::Result<Vec<String>> {
    Ok(Store::durability(url).await?.map_or(Vec::new(), |durability| weaknesses(&durability)))
}

fn weaknesses(durability: &Durability) -> Vec<String> {
    let standbys = !durability.synchronous_standbys.is_empty();
    let commit = durability.synchronous_commit.as_str();
    let said = [
        (
            !standbys,
            "one PostgreSQL without a synchronous standby: what was acknowledged is lost with its disk; set \
             synchronous_standby_names there",
        ),
        (commit == "off", "synchronous_commit is off: what was acknowledged in the last moments is lost in a crash"),
        (
            standbys && commit == "local",
            "synchronous_commit is local: no standby is waited for, and what was acknowledged is lost with the disk",
        ),
        (
            standbys && commit == "remote_write",
            "synchronous_commit is remote_write: what was acknowledged is lost where both machines lose power",
        ),
        (!durability.fsync, "fsync is off: what was acknowledged, or all of it, is lost where the machine loses power"),
        (!durability.full_page_writes, "full_page_writes is off: a loss of power may leave a damaged database"),
        (
            !durability.tls && !durability.is_local,
            "the database is on another machine and reached without TLS: add sslmode=verify-full to its URL",
        ),
    ];
    said.into_iter().filter(|(is_so, _)| *is_so).map(|(_, said)| said.to_owned()).collect()
}

/// What would weaken a promise.
fn warnings(config: &Config, now: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    if !config.listen.ip().is_loopback() {
        warnings.push(format!(
            "{} is reached from other machines without TLS: put a TLS proxy in front and listen on loopback",
            config.listen
        ));
    }
    if let Some(url) = config.public_url.as_deref().filter(|url| url.starts_with("http://")) {
        warnings.push(format!("public_url {url} is without TLS: whoever carries a link can change what it shows"));
    }
    if let Some(days) = config.retention.days().filter(|days| *days < RETENTION_DAYS_MIN) {
        warnings.push(format!(
            "retention.bodies is {days}d, shorter than gateways try a delivery again: a body may be gone when its event \
             comes once more; keep them for {RETENTION_DAYS_MIN}d at least"
        ));
    }
    for endpoint in config.endpoints().iter() {
        for expires_at in endpoint.secrets.expiries() {
            let left = expires_at.micros().saturating_sub(now.micros());
            let path = &endpoint.path;
            if left <= 0 {
                warnings.push(format!("a secret of {path} expired at {expires_at}: remove it from the configuration"));
            } else if left <= EXPIRES_SOON_MICROS {
                let days = count((left / DAY_MICROS).unsigned_abs(), "day");
                warnings.push(format!("a secret of {path} expires at {expires_at}, in {days}"));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_lose_what_was_acknowledged_is_warned_of() {
        let sound = || Durability {
            synchronous_standbys: "*".to_owned(),
            synchronous_commit: "on".to_owned(),
            fsync: true,
            full_page_writes: true,
            tls: false,
            is_local: true,
        };
        let commit = |word: &str| Durability { synchronous_commit: word.to_owned(), ..sound() };
        let none = String::new;
        let table: [(Durability, &[&str]); 10] = [
            (sound(), &[]),
            (commit("remote_apply"), &[]),
            (Durability { tls: true, is_local: false, ..sound() }, &[]),
            (Durability { synchronous_standbys: none(), ..sound() }, &["without a synchronous standby"]),
            (commit("off"), &["synchronous_commit is off"]),
            (commit("local"), &["synchronous_commit is local"]),
            (commit("remote_write"), &["synchronous_commit is remote_write"]),
            (Durability { fsync: false, ..sound() }, &["fsync is off"]),
            (Durability { full_page_writes: false, ..sound() }, &["full_page_writes is off"]),
            (
                Durability { is_local: false, synchronous_standbys: none(), ..commit("local") },
                &["without a synchronous standby", "without TLS"],
            ),
        ];
        for (durability, expected) in table {
            let said = weaknesses(&durability);
            let named = said.iter().zip(expected).all(|(said, expected)| said.contains(expected));
            assert!(named && said.len() == expected.len(), "{durability:?}: {said:?}");
        }
    }
}
