//! `quittance verify`: one delivery, offline, with a given clock. Only a certificate of
//! PayPal's is fetched where none is given.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use domain::Timestamp;
use engine::Clock;
use engine::clients::paypal::PaypalVerifier;
use gateways::paypal::{self, Certificates, Trust};
use gateways::{Gateway, Secret, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::config::{process_environment, several};
use crate::output::WrongUsage;
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
    /// How far the signature's time may be away, in seconds [default: 300, of PayPal's four days]
    #[arg(long, value_name = "SECONDS")]
    tolerance: Option<u64>,
    /// A header as it was sent, `Name: value`
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// The URL it was sent to, for gateways that sign it
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// PayPal's certificate in PEM, with those between it and the root, instead of fetching it
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Certificates in PEM to trust as roots beside the public ones
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// The raw body; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
}

#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    reason: Option<String>,
}

pub fn gateway(name: &str) -> Result<Gateway, String> {
    let known = || Gateway::ALL.map(Gateway::as_str).join(", ");
    Gateway::parse(name).ok_or_else(|| format!("no gateway {name:?} is known; there are {}", known()))
}

pub fn instant(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse().ok().map(Timestamp::from_seconds);
    seconds
        .or_else(|| Timestamp::parse(text))
        .ok_or_else(|| format!("{text:?} is no time like 1795194370 or 2026-11-20T16:01:00Z"))
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let body = read_body(&args.body)?;
    let headers = headers(&args.header)?;
    let reason = match secrets(args)? {
        Ok(secrets) => match verdict(args, &headers, &body, &secrets).await? {
            Verdict::Valid { .. } => None,
            Verdict::Invalid(reason) => Some(reason.to_string()),
        },
        Err(bad) => Some(bad),
    };
    let report = Report { verdict: if reason.is_none() { "valid" } else { "invalid" }, reason };
    say!("{}", serde_json::to_string(&report)?)?;
    Ok(if report.reason.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A secret that the gateway could not have given out verifies nothing.
fn secrets(args: &Args) -> anyhow::Result<Result<Vec<Secret>, String>> {
    let texts = args.secret.iter().map(|text| several("--secret", args.gateway, text, &process_environment));
    let texts = texts.collect::<anyhow::Result<Vec<_>>>()?.concat();
    if texts.iter().any(|text| text.expose_secret().is_empty()) {
        return Ok(Err("a secret is empty".to_owned())); // Anybody could have signed with it.
    }
    Ok(texts.iter().map(|text| args.gateway.secret(text).map_err(|bad| bad.to_string())).collect())
}

async fn verdict(args: &Args, headers: &HeaderMap, body: &[u8], secrets: &[Secret]) -> anyhow::Result<Verdict> {
    let at = args.at.unwrap_or_else(|| Clock::System.now());
    let tolerance = args.tolerance.unwrap_or_else(|| args.gateway.tolerance_seconds());
    if args.gateway != Gateway::Paypal {
        return Ok(args.gateway.verify(headers, body, secrets, at, tolerance));
    }
    let mut trust = Trust::public(None);
    if let Some(path) = &args.trust {
        trust = trust.with_roots(&read(path)?).with_context(|| path.display().to_string())?;
    }
    let Some(path) = &args.certificate else {
        let verifier = PaypalVerifier::by_certificate(trust, std::env::var("PAYPAL_API_BASE").ok())?;
        let verdict = verifier.verify(headers, body, secrets, at, tolerance).await;
        return verdict.context("the certificate cannot be fetched; give it with --certificate FILE");
    };
    let certificates = Certificates::from_pem(&read(path)?).with_context(|| path.display().to_string())?;
    Ok(paypal::verify(headers, body, secrets, &certificates, &trust, at, tolerance))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn read_body(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body).context("standard input cannot be read")?;
        return Ok(body);
    }
    read(path)
}

fn headers(lines: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err(WrongUsage(format!("--header {line:?} is not like 'Name: value'")).into());
        };
        let name = HeaderName::from_bytes(name.trim().as_bytes())
            .map_err(|why| WrongUsage(format!("--header: the name {name:?}: {why}")))?;
        let value = HeaderValue::from_str(value.trim_matches(' '))
            .map_err(|why| WrongUsage(format!("--header {name}: {why}")))?;
        headers.append(name, value);
    }
    Ok(headers)
}
