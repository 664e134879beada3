//! `kill -9` of one of three replicas under load, twice, and its return.

use super::look::{Scene, look};
use super::{DATABASE, Row, Stage, traffic};

const REPLICAS: usize = 3;
/// When it is killed and started again, in shares of what is acknowledged.
const KILLED_AND_BACK_AT: [(f64, f64); 2] = [(0.2, 0.4), (0.6, 0.75)];

pub(super) fn run(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let postgres = stage.postgres()?;
    let database_url = postgres.url(DATABASE);
    let mut replicas = stage.replicas(REPLICAS, &database_url)?;
    let addresses: Vec<_> = replicas.iter().map(|(_, server)| server.address).collect();
    let (quittance, victim) = &mut replicas[0];
    let (done, ledger) = traffic::send(
        &stage.requests,
        &stage.indices()?,
        stage.rate(REPLICAS),
        &addresses,
        |traffic| {
            let mut done = Vec::new();
            for (killed_at, back_at) in KILLED_AND_BACK_AT {
                traffic.wait_for_share(killed_at)?;
                victim.kill();
                traffic.mark();
                let others = traffic.first_acknowledged()?;
                // The others take what it did not, and apply what it had accepted.
                traffic.wait_for_share(back_at)?;
                *victim = quittance.serve()?;
                traffic.goes_to(0, victim.address);
                done.push(format!(
                    "one of {REPLICAS} killed at {:.0} % of the load, the others acknowledge after {} ms, back at {:.0} %",
                    killed_at * 100.0,
                    others.as_millis(),
                    back_at * 100.0
                ));
            }
            Ok(done)
        },
    )?;
    let (quittance, server) = &replicas[1];
    let found = look(&Scene {
        requests: &stage.requests,
        ledger: &ledger,
        address: server.address,
        quittance,
        database_url: &database_url,
    })?;
    Ok(Row::new(stage.fault.name(), &format!("PostgreSQL {}", postgres.version()), done, &ledger, found))
}
