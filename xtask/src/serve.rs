//! A PostgreSQL for tests that somebody runs by hand.

use clap::Args;

use crate::postgres::{Server, Settings, URL_VARIABLE};
use crate::shell::say;

#[derive(Args)]
pub struct Postgres {
    /// Serve with a certificate signed by itself, and refuse who does not ask for TLS
    #[arg(long)]
    tls: bool,
}

impl Postgres {
    /// # Errors
    /// When PostgreSQL is neither here nor to be had, or does not start.
    pub fn run(&self) -> anyhow::Result<()> {
        let server = Server::start(Settings { tls: self.tls, ..Settings::scratch() })?;
        say(&format!("PostgreSQL {}, until this ends; for another terminal:", server.version()));
        println!("export {URL_VARIABLE}='{}'", server.url("postgres"));
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        Ok(())
    }
}
