//! The primary dies under load and its synchronous standby is promoted. The servers, which know both hosts, find by
//! themselves the one that can be written to.

use std::time::{Duration, Instant};

use xtask::postgres::Server;

use super::look::{Scene, look};
use super::{DATABASE, Row, Stage, traffic};

const REPLICAS: usize = 2;
const KILLED_AT: f64 = 0.4;
/// Nobody promotes a standby at once.
const AWAY: Duration = Duration::from_secs(2);
/// So that it was felt.
const REFUSALS: u64 = 50;

pub(super) fn run(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let mut primary = stage.postgres()?;
    let standby = Server::standby_of(&primary)?;
    let both = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
    let database_url = primary.url(DATABASE).replace(&format!("127.0.0.1:{}", primary.port()), &both);
    let mut replicas = stage.replicas(REPLICAS, &database_url)?;
    let addresses: Vec<_> = replicas.iter().map(|(_, server)| server.address).collect();
    let (mut done, ledger) =
        traffic::send(&stage.requests, &stage.indices()?, stage.rate(REPLICAS), &addresses, |traffic| {
            traffic.wait_for_share(KILLED_AT)?;
            primary.kill_hard()?;
            let killed = Instant::now();
            traffic.wait_for_refusals(REFUSALS)?;
            traffic.wait_for("the primary is missed for a while", || Ok(killed.elapsed() >= AWAY))?;
            let away = killed.elapsed();
            standby.promote()?;
            traffic.mark();
            let after = traffic.first_acknowledged()?;
            Ok(vec![format!(
                "primary killed at {:.0} % of the load, its synchronous standby promoted {:.1} s later, acknowledged \
                 again {} ms after that",
                KILLED_AT * 100.0,
                away.as_secs_f64(),
                after.as_millis()
            )])
        })?;
    done.push(format!("the slowest 503 took {:.1} s", ledger.slowest_refusal.as_secs_f64()));
    let mut wrong = Vec::new();
    if !replicas.iter_mut().all(|(_, server)| server.runs()) {
        wrong.push("a server ended with its database".to_owned());
    }
    let (quittance, server) = &replicas[1];
    let mut found = look(&Scene {
        requests: &stage.requests,
        ledger: &ledger,
        address: server.address,
        quittance,
        database_url: &standby.url(DATABASE),
    })?;
    found.wrong.extend(wrong);
    Ok(Row::new(stage.fault.name(), &format!("PostgreSQL {}", primary.version()), done, &ledger, found))
}
