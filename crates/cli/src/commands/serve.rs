//! `quittance serve`

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use engine::{Clock, Engine, Upkeep, Witness};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::endpoint::InForce;
use server::serve::Connections;
use server::{App, Endpoints, PublicConfig};
use store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, ConnectionLimits, Flags, process_environment};
use crate::{reload, say, tell};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen; port 0 picks a free one [default: $QUITTANCE_LISTEN, 127.0.0.1:$PORT, or 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

pub async fn run(config: Config, flags: &Flags, args: &Args) -> anyhow::Result<ExitCode> {
    let endpoints = config.endpoints_to_serve()?;
    let upkeep = Upkeep { witness: witness(&config)?, bodies_kept_for: config.retention.bodies };
    let store = super::open(&config).await?;
    say_what_does_not_run(&endpoints);
    let (stop, hangups) = (stop_signal()?, reload::hangups()?);
    let server = Server::start(store, endpoints, config.listen, config.connections, upkeep).await?;
    let server = server.with_public(config.public.clone());
    let reloading = reload::run(hangups, config, flags.clone(), args.listen, server.app.endpoints.clone());
    let reloading = tokio::spawn(reloading);
    let ended = server.run(stop).await;
    reloading.abort();
    ended
}

/// What keeps the checkpoints of the hash chains.
fn witness(config: &Config) -> anyhow::Result<Witness> {
    let (key, file) = (config.checkpoints.key(&process_environment)?, &config.checkpoints.file);
    let path = file.as_deref().unwrap_or(Path::new(""));
    let named = || format!("checkpoint_file: {} cannot be written", path.display());
    Witness::new(key, file.clone()).with_context(named)
}

/// A warning where nothing would be taken at all; those that nobody set up are no
/// trouble beside one that runs.
fn say_what_does_not_run(endpoints: &Endpoints) {
    let some_runs = endpoints.iter().any(|endpoint| !endpoint.secrets.is_empty());
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.secrets.is_empty()) {
        let path = endpoint.path.as_str();
        if some_runs {
            tracing::info!(endpoint = path, "The endpoint does not run: set {}", endpoint.set_by);
        } else {
            tracing::warn!(endpoint = path, "The endpoint does not run: set {}", endpoint.set_by);
        }
    }
}

/// Files that are open beside connections: the database's, the log, and some to spare.
const OTHER_FILES_MAX: usize = 256;

/// As many connections as are configured, and as the operating system has room for: as
/// much of it as this process may have is asked for.
fn connections(limits: ConnectionLimits, in_force: Arc<InForce>) -> Connections {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.maximum,
        Err(_) => before.current,
    };
    let room = files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES_MAX).max(1)
    });
    let wanted = limits.max.unwrap_or(server::serve::CONNECTIONS_MAX);
    if room < wanted && limits.max.is_some() {
        tracing::warn!(room, wanted, "Fewer connections than configured: this process may open few files (ulimit -n)");
    } else if room < wanted {
        tracing::info!(room, "This process may open few files (ulimit -n), so it takes few connections");
    }
    let of_an_address_max = limits.of_an_address_max.unwrap_or(server::serve::CONNECTIONS_OF_AN_ADDRESS_MAX);
    Connections { max: wanted.min(room), of_an_address_max, in_force }
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
    connections: Connections,
    pub address: SocketAddr,
}

impl Server {
    pub async fn start(
        store: Store,
        endpoints: Endpoints,
        listen: SocketAddr,
        limits: ConnectionLimits,
        upkeep: Upkeep,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let engine = Engine::start_with(store.clone(), Clock::System, upkeep);
        let app = App::new(store.clone(), engine.intake(), Clock::System, endpoints);
        let connections = connections(limits, app.endpoints.clone());
        Ok(Self { store, engine, app, listener, connections, address })
    }

    /// As it is, with what everybody may know.
    fn with_public(self, public: PublicConfig) -> Self {
        Self { app: self.app.with_public(public), ..self }
    }

    /// Serves until `stop`; then drains. Fails when a part of it died.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<ExitCode> {
        let Self { store, mut engine, app, listener, connections, address } = self;
        say!("listening on http://{address}")?;
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "Serving");
        let mut died = false;
        let stop = async {
            tokio::select! {
                () = stop => tracing::info!("Draining: no more connections, finishing what is under way"),
                () = engine.failed() => died = true,
            }
        };
        server::serve::run(listener, server::router(app), connections, stop).await;
        engine.stop().await;
        if let Err(error) = store.checkpoint().await {
            tracing::warn!(%error, "the last checkpoint failed; the next start takes it up");
        }
        store.close().await;
        tracing::info!("Stopped");
        Ok(if died { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
