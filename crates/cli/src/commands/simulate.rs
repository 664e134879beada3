//! `quittance simulate`: whole lives of payments, as traffic.

use std::process::ExitCode;
use std::time::Duration;

use engine::Clock;
use gateways::stripe::sample::{Life, SampleEvent, Sampler};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::trigger::Target;
use crate::config::Flags;
use crate::sender::Sender;

/// Deliveries under way at once.
const CONCURRENCY: usize = 16;
/// Over how many deliveries `--shuffle` mixes.
const SHUFFLE_WINDOW: usize = 200;
/// A delivery that is not acknowledged is tried so often, as a gateway would.
const TRIES_MAX: u32 = 5;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many payments
    #[arg(long, value_name = "N", default_value_t = 100)]
    payments: usize,
    /// Deliveries a second; 0 for as many as it takes
    #[arg(long, value_name = "R", default_value_t = 50)]
    rate: u32,
    /// Of a hundred events, how many are delivered twice
    #[arg(long, value_name = "PCT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    duplicates: u8,
    /// Deliver out of order
    #[arg(long)]
    shuffle: bool,
    /// The same seed gives the same payments
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    target: Target,
}

/// What was sent and what came of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Tally {
    pub payments: usize,
    pub events: usize,
    pub deliveries: usize,
    pub acknowledged: usize,
    /// Never acknowledged, after all tries.
    pub refused: usize,
}

pub async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let sender = args.target.sender(flags)?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut traffic = Traffic::new(seed, args.duplicates, args.shuffle);
    let lives: Vec<Life> = (0..args.payments).map(|_| traffic.life()).collect();
    let tally = traffic.send(&lives, &sender, args.rate).await;
    eprintln!("seed {seed}");
    println!("{}", serde_json::to_string(&tally)?);
    Ok(if tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes payments and delivers their events, as well or as badly as was asked for.
pub struct Traffic {
    sampler: Sampler,
    rng: fastrand::Rng,
    duplicates_percent: u8,
    shuffle: bool,
}

impl Traffic {
    pub fn new(seed: u64, duplicates_percent: u8, shuffle: bool) -> Self {
        Self { sampler: Sampler::new(seed), rng: fastrand::Rng::with_seed(seed), duplicates_percent, shuffle }
    }

    pub fn life(&mut self) -> Life {
        self.sampler.any_life(Clock::System.now())
    }

    fn schedule<'a>(&mut self, lives: &'a [Life]) -> Vec<&'a SampleEvent> {
        let mut deliveries: Vec<&SampleEvent> = Vec::new();
        for event in lives.iter().flat_map(|life| &life.events) {
            deliveries.push(event);
            if self.rng.u8(..100) < self.duplicates_percent {
                deliveries.push(event);
            }
        }
        if self.shuffle {
            for window in deliveries.chunks_mut(SHUFFLE_WINDOW) {
                self.rng.shuffle(window);
            }
        }
        deliveries
    }

    /// Delivers the events of these payments; resolves when all are done.
    pub async fn send(&mut self, lives: &[Life], sender: &Sender, rate: u32) -> Tally {
        let deliveries = self.schedule(lives);
        let events = lives.iter().map(|life| life.events.len()).sum();
        let mut tally = Tally { payments: lives.len(), events, deliveries: deliveries.len(), ..Tally::default() };
        let mut pace = pace(rate);
        let mut under_way = JoinSet::new();
        let mut count = |acknowledged: Option<Result<bool, tokio::task::JoinError>>| match acknowledged {
            Some(Ok(true)) => tally.acknowledged += 1,
            Some(_) => tally.refused += 1,
            None => {}
        };
        for event in deliveries {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            while under_way.len() >= CONCURRENCY {
                count(under_way.join_next().await);
            }
            under_way.spawn(deliver(sender.clone(), event.body.clone()));
        }
        while let Some(done) = under_way.join_next().await {
            count(Some(done));
        }
        tally
    }
}

fn pace(rate: u32) -> Option<Interval> {
    let mut pace = tokio::time::interval(Duration::from_secs(1).checked_div(rate)?);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    Some(pace)
}

/// Whether it was acknowledged.
async fn deliver(sender: Sender, body: String) -> bool {
    for _ in 0..TRIES_MAX {
        match sender.deliver(&body).await {
            Ok(reply) if reply.is_success() => return true,
            Ok(reply) => eprintln!("not acknowledged: {} {}", reply.status, reply.body),
            Err(error) => eprintln!("not acknowledged: {error:#}"),
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
    false
}
