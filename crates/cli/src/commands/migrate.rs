//! `quittance migrate`

use std::process::ExitCode;

use crate::config::{Config, without_password};
use crate::tell;

pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let store = super::open(config).await?;
    store.close().await;
    tell!("{} is at this version", without_password(&config.database_url));
    Ok(ExitCode::SUCCESS)
}
