//! What runs: deliveries become durable in [`intake`], stored events become state
//! in [`apply`], [`sweep`] keeps the database in shape, and [`checkpoints`] say outside
//! of it where its hash chains ended; [`replicas`] tell one another that there is work.

pub mod apply;
pub mod checkpoints;
pub mod clients;
pub mod clock;
pub mod intake;
pub mod prove;
pub mod rebuild;
pub mod replicas;
mod retention;
pub mod settlements;
pub mod sweep;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use store::Store;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;

pub use checkpoints::{CheckpointKey, Witness};
pub use clock::Clock;
pub use intake::{Intake, Refused};
pub use settlements::{Settled, Settlements};

/// A connection that does not end keeps the way in open; it is cut off after this.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What is configured of the engine's upkeep.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// Keeps the chains' checkpoints.
    pub witness: Witness,
    /// After which bodies are dropped; never where it is not said.
    pub bodies_kept_for: Option<Duration>,
}

/// The engine's tasks and the way in.
#[derive(Debug)]
pub struct Engine {
    intake: Intake,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Engine {
    /// Starts the tasks on the current runtime. What an earlier process left behind
    /// is taken up at once.
    pub fn start(store: Store, clock: Clock) -> Self {
        Self::start_with(store, clock, Upkeep::default())
    }

    /// As [`Self::start`], with what is configured of it.
    pub fn start_with(store: Store, clock: Clock, upkeep: Upkeep) -> Self {
        let Upkeep { witness, bodies_kept_for } = upkeep;
        let (stop, stopped) = watch::channel(false);
        let work = Arc::new(Notify::new());
        let settlements = Settlements::of(&store);
        let (intake, inbox) = intake::channel(settlements.clone());
        let mut tasks = JoinSet::new();
        let (storing, stored) = oneshot::channel();
        let stored_here = Arc::new(AtomicBool::new(false));
        let last_failure = intake.last_failure.clone();
        let storing_all =
            intake::run(store.clone(), clock.clone(), inbox, work.clone(), stored_here.clone(), last_failure);
        tasks.spawn(async move {
            storing_all.await;
            let _ = storing.send(()); // The checkpoints' task waits for it.
        });
        tasks.spawn(checkpoints::run(store.clone(), clock.clone(), witness, stored));
        for lane in store.lanes() {
            tasks.spawn(apply::run(lane, clock.clone(), settlements.clone(), work.clone(), stopped.clone()));
        }
        if store.is_shared() {
            tasks.spawn(replicas::run(store.clone(), work, stored_here, stopped.clone()));
            tasks.spawn(sweep::refresh_statistics(store.clone(), stopped.clone()));
        }
        tasks.spawn(sweep::call_back(store.clone(), clock.clone(), stopped.clone()));
        if store.is_shared() || bodies_kept_for.is_some() {
            tasks.spawn(retention::run(store.clone(), clock, bodies_kept_for, stopped.clone()));
        }
        tasks.spawn(sweep::run(store, stopped));
        Self { intake, stop, tasks }
    }

    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Resolves when a task ended although nobody stopped it: the process must not
    /// go on without it.
    pub async fn failed(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            tracing::error!(%error, "an engine task died");
        }
    }

    /// Stores what was submitted, finishes the batch under way and ends. Call it
    /// when no more deliveries come in. What is not applied yet is on disk.
    pub async fn stop(self) {
        let Self { intake, stop, mut tasks } = self;
        drop(intake); // The intake task ends with its last sender.
        stop.send_replace(true);
        let ended = async {
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "an engine task died while stopping");
                }
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("stopped without waiting longer; what is not applied is on disk");
        }
    }
}
