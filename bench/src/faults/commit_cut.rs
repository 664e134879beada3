//! The connection to PostgreSQL breaks at a commit, over and over: what the server then cannot know, it does not claim,
//! and what is sent again is not doubled.

use std::net::{Ipv4Addr, SocketAddr};

use super::look::{Scene, look};
use super::proxy::Proxy;
use super::{DATABASE, Row, Stage, traffic};

const REPLICAS: usize = 2;
const CUT_FROM_TO: (f64, f64) = (0.1, 0.9);

pub(super) fn run(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let postgres = stage.postgres()?;
    let database_url = postgres.url(DATABASE);
    let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port())), stage.plan.seed)?;
    let through = database_url.replace(&format!(":{}/", postgres.port()), &format!(":{}/", proxy.address.port()));
    let mut replicas = stage.replicas(REPLICAS, &through)?;
    let addresses: Vec<_> = replicas.iter().map(|(_, server)| server.address).collect();
    let ((), ledger) =
        traffic::send(&stage.requests, &stage.indices()?, stage.rate(REPLICAS), &addresses, |traffic| {
            traffic.wait_for_share(CUT_FROM_TO.0)?;
            proxy.arm(true);
            traffic.wait_for_share(CUT_FROM_TO.1)?;
            proxy.arm(false);
            Ok(())
        })?;
    let [before, meanwhile, after] = proxy.cuts();
    let done = vec![format!(
        "{before} commits cut before the database heard of them, {meanwhile} as it did, {after} after it had committed \
         and before the server was told"
    )];
    let mut wrong = Vec::new();
    if !replicas.iter_mut().all(|(_, server)| server.runs()) {
        wrong.push("a server ended with a connection".to_owned());
    }
    if before == 0 || meanwhile == 0 || after == 0 {
        wrong.push("too little was cut to prove anything: more load is needed".to_owned());
    }
    let (quittance, server) = &replicas[0];
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
