//! The clock jumps by hours and days under load, there and back: the engine and the router as the binary has them, in
//! this process, with a clock that is set.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use domain::Timestamp;
use engine::{Clock, Engine};
use gateways::Secret;
use secrecy::SecretString;
use server::serve::Connections;
use server::{App, Endpoint, Endpoints};
use store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::look::{Scene, look};
use super::{DATABASE, Row, Stage, traffic};
use crate::quittance;
use crate::requests::{PATH, SECRET};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// From the right time, in seconds, one after the other. It ends behind all that it was before.
const OFFSETS: [(i64, &str); 6] =
    [(HOUR, "+1 h"), (0, "back"), (-HOUR, "−1 h"), (DAY, "+1 d"), (0, "back"), (-DAY, "−1 d")];
/// The senders' clocks are right.
const TOLERANCE_SECONDS: u64 = 2 * DAY as u64;
const TICK: Duration = Duration::from_millis(1);
const STOP_MAX: Duration = Duration::from_secs(10);
/// What a jump leaves behind is applied within so long.
const APPLY_MAX: Duration = Duration::from_secs(15);

pub(super) fn on_sqlite(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let url = format!("sqlite:{}", stage.directory.join("clock.db").display());
    run(stage, "SQLite", &url)
}

pub(super) fn on_postgres(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let postgres = stage.postgres()?;
    run(stage, &format!("PostgreSQL {}", postgres.version()), &postgres.url(DATABASE))
}

fn run(stage: &Stage<'_>, database: &str, database_url: &str) -> anyhow::Result<Row> {
    let quittance = stage.quittance("commands", database_url)?;
    let hands = Hands::start();
    let server = InProcess::start(database_url, hands.clock.clone())?;
    let jumps = OFFSETS.len() as f64;
    let ((), ledger) =
        traffic::send(&stage.requests, &stage.indices()?, stage.rate(1), &[server.address], |traffic| {
            for (number, (offset, _)) in OFFSETS.iter().enumerate() {
                traffic.wait_for_share((number as f64 + 0.5) / jumps)?;
                hands.move_to(*offset);
            }
            Ok(())
        })?;
    let started = Instant::now();
    let applied = quittance::wait_until_applied(server.address, APPLY_MAX);
    let jumps: Vec<&str> = OFFSETS.iter().map(|(_, said)| *said).collect();
    let done = format!(
        "the clock jumped {}, all was applied {:.1} s after the load",
        jumps.join(", "),
        started.elapsed().as_secs_f64()
    );
    if let Err(error) = applied {
        let left = format!("after {done}: {error:#}");
        anyhow::bail!(left);
    }
    let scene = Scene {
        requests: &stage.requests,
        ledger: &ledger,
        address: server.address,
        quittance: &quittance,
        database_url,
    };
    let found = look(&scene)?;
    Ok(Row::new(stage.fault.name(), database, vec![done], &ledger, found))
}

/// A clock that goes, and can be put wrong.
struct Hands {
    clock: Clock,
    offset_micros: Arc<AtomicI64>,
    stopped: Arc<AtomicBool>,
    moved: Option<JoinHandle<()>>,
}

impl Hands {
    fn start() -> Self {
        let clock = Clock::manual(Clock::System.now());
        let (offset_micros, stopped) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let (hands, offset, ended) = (clock.clone(), offset_micros.clone(), stopped.clone());
        let moved = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let right = Clock::System.now().micros();
                hands.set(Timestamp::from_micros(right + offset.load(Ordering::SeqCst)));
                std::thread::park_timeout(TICK);
            }
        });
        Self { clock, offset_micros, stopped, moved: Some(moved) }
    }

    fn move_to(&self, offset_seconds: i64) {
        self.offset_micros.store(offset_seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(moved) = self.moved.take() {
            let _ = moved.join();
        }
    }
}

/// Engine and router as `quittance serve` has them, but for the clock.
struct InProcess {
    address: SocketAddr,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<()>>,
}

impl InProcess {
    fn start(database_url: &str, clock: Clock) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (address, ended) = runtime.block_on(async {
            let store = Store::open(database_url).await?;
            store.migrate().await?;
            let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
            let address = listener.local_addr()?;
            let engine = Engine::start(store.clone(), clock.clone());
            let secret = Secret::from_text(&SecretString::from(SECRET));
            let mut endpoint = Endpoint::stripe(PATH, vec![secret]);
            endpoint.limits.tolerance_seconds = TOLERANCE_SECONDS;
            let app = App::new(store.clone(), engine.intake(), clock, Endpoints::new([endpoint]));
            let serving = async move {
                let stopped = async move {
                    let _ = stopped.await; // Or whoever would have said so has gone.
                };
                server::serve::run(listener, server::router(app), Connections::default(), stopped).await;
                engine.stop().await;
                store.close().await;
            };
            anyhow::Ok((address, tokio::spawn(serving)))
        })?;
        Ok(Self { address, runtime: Some(runtime), stop: Some(stop), ended: Some(ended) })
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let (Some(runtime), Some(ended)) = (self.runtime.take(), self.ended.take()) {
            let _ = runtime.block_on(async { tokio::time::timeout(STOP_MAX, ended).await });
            runtime.shutdown_timeout(STOP_MAX);
        }
    }
}
