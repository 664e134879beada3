//! `quittance simulate`: whole lives of payments, as traffic.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use domain::Timestamp;
use engine::Clock;
use gateways::Gateway;
use gateways::stripe::sample::{Life, SampleEvent, Sampler};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::trigger::{SEEDED_START, Target};
use crate::config::Flags;
use crate::sender::Sender;
use crate::{output, say, tell};

/// Deliveries under way at once.
const CONCURRENCY: usize = 16;
/// Over how many deliveries `--shuffle` mixes.
const SHUFFLE_WINDOW: usize = 200;
/// A delivery that is not acknowledged is tried so often, as a gateway would; one that
/// is refused for what it is, once.
const TRIES_MAX: u32 = 5;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// No life is longer by the gateway's clock; none ends in the future.
const LONGEST_LIFE_MICROS: i64 = 100 * 24 * 60 * 60 * 1_000_000;

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
    /// The same seed gives the same payments, which begin on 2025-01-01
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
    let sender = args.target.sender(Gateway::Stripe, flags)?;
    let mut traffic = Traffic::new(args.seed, args.duplicates, args.shuffle);
    let lives: Vec<Life> = (0..args.payments).map(|_| traffic.life()).collect();
    let tally = traffic.send(&lives, &sender, args.rate).await;
    tell!("seed {}", traffic.seed);
    say!("{}", serde_json::to_string(&tally)?)?;
    Ok(if tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes payments and delivers their events, as well or as badly as was asked for.
pub struct Traffic {
    pub seed: u64,
    start: Timestamp,
    sampler: Sampler,
    rng: fastrand::Rng,
    duplicates_percent: u8,
    shuffle: bool,
}

impl Traffic {
    pub fn new(seed: Option<u64>, duplicates_percent: u8, shuffle: bool) -> Self {
        let start = match seed {
            Some(_) => SEEDED_START,
            None => Clock::System.now().plus_micros(-LONGEST_LIFE_MICROS),
        };
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        let (sampler, rng) = (Sampler::new(seed), fastrand::Rng::with_seed(seed));
        Self { seed, start, sampler, rng, duplicates_percent, shuffle }
    }

    pub fn life(&mut self) -> Life {
        self.sampler.any_life(self.start)
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

    /// Delivers the events of these payments; resolves when all are done. Gives up
    /// when nothing answers. Each kind of trouble is told once.
    pub async fn send(&mut self, lives: &[Life], sender: &Sender, rate: u32) -> Tally {
        let deliveries = self.schedule(lives);
        let events = lives.iter().map(|life| life.events.len()).sum();
        let mut tally = Tally { payments: lives.len(), events, deliveries: deliveries.len(), ..Tally::default() };
        let mut pace = pace(rate);
        let mut under_way = JoinSet::new();
        let mut troubles = BTreeSet::new();
        let mut settle = |ended: Ended| match ended {
            Ended::Acknowledged => tally.acknowledged += 1,
            Ended::Refused(why) | Ended::Unanswered(why) => {
                if !troubles.contains(&why) {
                    tell!("not acknowledged: {why}");
                    troubles.insert(why);
                }
            }
        };
        let mut nobody_answers = false;
        for event in deliveries {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            while under_way.len() >= CONCURRENCY
                && let Some(ended) = ended(&mut under_way).await
            {
                nobody_answers |= matches!(ended, Ended::Unanswered(_));
                settle(ended);
            }
            if nobody_answers {
                break;
            }
            under_way.spawn(deliver(sender.clone(), event.clone()));
        }
        while let Some(ended) = ended(&mut under_way).await {
            settle(ended);
        }
        tally.refused = tally.deliveries - tally.acknowledged;
        tally
    }
}

/// How a delivery ended, after all its tries.
enum Ended {
    Acknowledged,
    Refused(String),
    Unanswered(String),
}

async fn ended(under_way: &mut JoinSet<Ended>) -> Option<Ended> {
    Some(under_way.join_next().await?.unwrap_or_else(|died| Ended::Refused(died.to_string())))
}

fn pace(rate: u32) -> Option<Interval> {
    let mut pace = tokio::time::interval(Duration::from_secs(1).checked_div(rate)?);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    Some(pace)
}

async fn deliver(sender: Sender, event: SampleEvent) -> Ended {
    let mut tries = 0;
    loop {
        tries += 1;
        let (ended, comes_again) = match sender.deliver(&event.id, &event.body).await {
            Ok(reply) if reply.is_success() => return Ended::Acknowledged,
            Ok(reply) => (Ended::Refused(reply.to_string()), reply.status == 429 || reply.status >= 500),
            Err(error) => (Ended::Unanswered(output::line(&error)), true),
        };
        if tries == TRIES_MAX || !comes_again {
            return ended;
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}
