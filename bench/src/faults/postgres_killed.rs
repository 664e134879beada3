//! PostgreSQL is killed under load, and comes back after a while. The servers stay up, say 503, and find it again.

use std::time::{Duration, Instant};

use super::look::{Scene, look};
use super::{DATABASE, Row, Stage, traffic};
use crate::quittance;

const REPLICAS: usize = 2;
const KILLED_AT: [f64; 2] = [0.3, 0.6];
/// How long it is away at least.
const AWAY: Duration = Duration::from_secs(2);
/// So that it was felt.
const REFUSALS: u64 = 50;
/// A gateway hangs up after ten seconds or more (PayPal's limit is the shortest that is documented).
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub(super) fn run(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let mut postgres = stage.postgres()?;
    let database_url = postgres.url(DATABASE);
    let mut replicas = stage.replicas(REPLICAS, &database_url)?;
    let addresses: Vec<_> = replicas.iter().map(|(_, server)| server.address).collect();
    let mut wrong = Vec::new();
    let (mut done, ledger) =
        traffic::send(&stage.requests, &stage.indices()?, stage.rate(REPLICAS), &addresses, |traffic| {
            let mut done = Vec::new();
            for killed_at in KILLED_AT {
                traffic.wait_for_share(killed_at)?;
                postgres.kill_hard()?;
                let killed = Instant::now();
                traffic.wait_for_refusals(REFUSALS)?;
                traffic.wait_for("PostgreSQL is missed for a while", || Ok(killed.elapsed() >= AWAY))?;
                let (status, _) = quittance::get(addresses[0], "/readyz", None)?;
                if status != 503 {
                    wrong.push(format!("/readyz says {status} while the database is away"));
                }
                let away = killed.elapsed();
                postgres.start_again()?;
                traffic.mark();
                let after = traffic.first_acknowledged()?;
                done.push(format!(
                    "killed at {:.0} % of the load, away for {:.1} s and /readyz said {status}, acknowledged again \
                     {} ms after it was back",
                    killed_at * 100.0,
                    away.as_secs_f64(),
                    after.as_millis()
                ));
            }
            Ok(done)
        })?;
    done.push(format!("the slowest 503 took {:.1} s", ledger.slowest_refusal.as_secs_f64()));
    if ledger.slowest_refusal > ANSWER_MAX {
        wrong.push(format!("a sender waited {:.1} s for its 503", ledger.slowest_refusal.as_secs_f64()));
    }
    if !replicas.iter_mut().all(|(_, server)| server.runs()) {
        wrong.push("a server ended with its database".to_owned());
    }
    let (quittance, server) = &replicas[1];
    let mut found = look(&Scene {
        requests: &stage.requests,
        ledger: &ledger,
        address: server.address,
        quittance,
        database_url: &database_url,
    })?;
    found.wrong.extend(wrong);
    Ok(Row::new(stage.fault.name(), &format!("PostgreSQL {}", postgres.version()), done, &ledger, found))
}
