//! `quittance serve`

use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use engine::{Clock, Engine};
use server::{App, Endpoints};
use store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::{say, tell};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen; port 0 picks a free one [default: $QUITTANCE_LISTEN, 127.0.0.1:$PORT, or 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
}

pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.secrets.is_empty()) {
        tracing::warn!(endpoint = endpoint.path, "The endpoint does not run: set {}", endpoint.secret_variable);
    }
    let store = super::open(config).await?;
    let stop = stop_signal()?;
    Server::start(store, endpoints, config.listen).await?.run(stop).await
}

/// As shells report a program that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// Resolves on SIGTERM or an interrupt. An interrupt after that ends the process at
/// once: somebody at a terminal does not want to wait, and what was acknowledged is on
/// disk. A further SIGTERM changes nothing, because supervisors may send several.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            if interrupt.recv().await.is_some() {
                tell!("quittance: interrupted again: stopped without waiting for requests under way");
                std::process::exit(INTERRUPTED);
            }
        });
    })
}

/// A server that listens.
pub struct Server {
    store: Store,
    engine: Engine,
    app: App,
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Server {
    pub async fn start(store: Store, endpoints: Endpoints, listen: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let engine = Engine::start(store.clone(), Clock::System);
        let app = App::new(store.clone(), engine.intake(), Clock::System, endpoints);
        Ok(Self { store, engine, app, listener, address })
    }

    /// Serves until `stop`; then drains. Fails when a part of it died.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<ExitCode> {
        let Self { store, mut engine, app, listener, address } = self;
        say!("listening on http://{address}")?;
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "Serving");
        let mut died = false;
        let stop = async {
            tokio::select! {
                () = stop => tracing::info!("Draining: no more connections, finishing what is under way"),
                () = engine.failed() => died = true,
            }
        };
        server::serve::run(listener, server::router(app), stop).await;
        engine.stop().await;
        log_chain_heads(&store).await;
        if let Err(error) = store.checkpoint().await {
            tracing::warn!(%error, "the last checkpoint failed; the next start takes it up");
        }
        store.close().await;
        tracing::info!("Stopped");
        Ok(if died { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Outside of the database, so that links which are removed from its end can be missed.
async fn log_chain_heads(store: &Store) {
    for account in store.accounts().await.unwrap_or_default() {
        if let Ok((number, hash)) = store.chain_head(&account).await {
            tracing::info!(%account, number, hash, "The hash chain ends here");
        }
    }
}
