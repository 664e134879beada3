//! `quittance verify`: one delivery, offline, with a given clock.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use domain::Timestamp;
use engine::Clock;
use gateways::{Gateway, Secret, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde::Serialize;

use crate::config::{follow, process_environment};
use crate::say;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who is said to have sent it
    #[arg(long, value_name = "GATEWAY", value_parser = gateway)]
    gateway: Gateway,
    /// A signing secret, env:NAME or file:PATH; several while rotating
    #[arg(long, value_name = "SECRET", required = true)]
    secret: Vec<SecretString>,
    /// When it came: seconds since 1970, or like 2026-11-20T16:01:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant, allow_hyphen_values = true)]
    at: Option<Timestamp>,
    /// How far the signature's time may be away, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = server::endpoint::TOLERANCE_SECONDS)]
    tolerance: u64,
    /// A header as it was sent, `Name: value`
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// The URL it was sent to, for gateways that sign it
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The raw body; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
}

#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    reason: Option<String>,
}

fn gateway(name: &str) -> Result<Gateway, String> {
    Gateway::parse(name).ok_or_else(|| format!("no gateway {name:?} is known; there is stripe"))
}

pub fn instant(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse().ok().map(Timestamp::from_seconds);
    seconds
        .or_else(|| Timestamp::parse(text))
        .ok_or_else(|| format!("{text:?} is no time like 1795194370 or 2026-11-20T16:01:00Z"))
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let body = read_body(&args.body)?;
    let headers = headers(&args.header)?;
    let mut secrets = Vec::new();
    for text in &args.secret {
        secrets.push(Secret::from_text(&follow("--secret", text, &process_environment)?));
    }
    let at = args.at.unwrap_or_else(|| Clock::System.now());
    let verdict = args.gateway.verify(&headers, &body, &secrets, at, args.tolerance);
    let report = match verdict {
        Verdict::Valid { .. } => Report { verdict: "valid", reason: None },
        Verdict::Invalid(reason) => Report { verdict: "invalid", reason: Some(reason.to_string()) },
    };
    say!("{}", serde_json::to_string(&report)?)?;
    Ok(if report.reason.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_body(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body).context("standard input cannot be read")?;
        return Ok(body);
    }
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn headers(lines: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            bail!("--header {line:?} is not like 'Name: value'");
        };
        let name = HeaderName::from_bytes(name.trim().as_bytes()).with_context(|| format!("header name {name:?}"))?;
        let value = HeaderValue::from_str(value.trim_matches(' ')).with_context(|| format!("header {name}"))?;
        headers.append(name, value);
    }
    Ok(headers)
}
