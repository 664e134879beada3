//! `quittance config check`

use std::process::ExitCode;

use store::Store;

use crate::config::{Config, Flags, process_environment, without_password};
use crate::say;

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
    let endpoints = config.endpoints();
    let running = endpoints.iter().filter(|endpoint| !endpoint.secrets.is_empty()).count();
    let database = database_state(&config.database_url).await;
    let warnings = warnings(&config);
    if *json {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|endpoint| {
                serde_json::json!({
                    "path": endpoint.path, "gateway": endpoint.gateway.as_str(), "account": endpoint.account,
                    "secrets": endpoint.secrets.len(), "runs": !endpoint.secrets.is_empty(),
                    "set": endpoint.secrets.is_empty().then_some(endpoint.secret_variable),
                })
            })
            .collect();
        let report = serde_json::json!({
            "file": config.file, "database_url": without_password(&config.database_url), "database": database,
            "listen": config.listen, "log": config.log, "endpoints": endpoints, "warnings": warnings,
        });
        say!("{report}")?;
    } else {
        match &config.file {
            Some(path) => say!("file       {}", path.display())?,
            None => say!("file       none (quittance.toml is not there)")?,
        }
        say!("database   {} ({database})", without_password(&config.database_url))?;
        say!("listen     {}", config.listen)?;
        say!("log        {}", config.log)?;
        for endpoint in endpoints.iter() {
            let state = match endpoint.secrets.len() {
                0 => format!("does not run: set {}", endpoint.secret_variable),
                1 => "runs, 1 secret".to_owned(),
                several => format!("runs, {several} secrets"),
            };
            say!("endpoint   POST {} ({}): {state}", endpoint.path, endpoint.gateway.as_str())?;
        }
        for warning in &warnings {
            say!("warning    {warning}")?;
        }
    }
    Ok(if running > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Looks without changing anything: a file that is not there is not made.
async fn database_state(url: &str) -> String {
    if let Err(error) = super::known_database(url) {
        return format!("not usable: {error}");
    }
    if super::missing_file(url).is_some() {
        return "not there yet; serve makes it".to_owned();
    }
    let looked = async {
        let store = Store::open(url).await?;
        let migrated = store.is_migrated().await?;
        store.close().await;
        store::Result::Ok(migrated)
    };
    match looked.await {
        Ok(true) => "at this version".to_owned(),
        Ok(false) => "older than this version; migrate or serve brings it up".to_owned(),
        Err(error) => format!("not usable: {error}"),
    }
}

/// What would weaken a promise.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if !config.listen.ip().is_loopback() {
        warnings.push(format!(
            "{} is reached from other machines without TLS: put a TLS proxy in front and listen on loopback",
            config.listen
        ));
    }
    warnings
}
