//! The disk is full under load: the server says so and stays up, and goes on when there is room again.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use xtask::postgres::Server;

use super::disk::Disk;
use super::look::{Scene, look};
use super::traffic::{Ledger, Traffic};
use super::{DATABASE, Row, Stage, traffic};
use crate::process;
use crate::quittance::{self, Quittance};

const FULL_AT: f64 = 0.3;
const REFUSALS: u64 = 50;
/// What it may still write then; a log in use has room of its own.
const BYTES_LEFT: u64 = 256 * 1024;
/// How long an operator waits for PostgreSQL to come back by itself.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// Megabytes; of memory.
const SQLITE_DISK: u32 = 64;
const POSTGRES_DISK: u32 = 400;

/// `ENOSPC`, where this process may mount a file system.
pub(super) fn on_sqlite(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let disk = match Disk::mount(&stage.directory.join("disk"), SQLITE_DISK) {
        Ok(disk) => disk,
        Err(why) => return Ok(Row::left_out(stage.fault.name(), "SQLite, small disk", format!("{why:#}"))),
    };
    let url = format!("sqlite:{}", disk.path().join("quittance.db").display());
    let quittance = stage.quittance("server", &url)?;
    let server = quittance.serve()?;
    let full = || disk.fill_up_but(BYTES_LEFT);
    let room = || disk.give_room().map(|()| "a large file was deleted".to_owned());
    play(stage, "SQLite, small disk", &quittance, server, &url, full, room)
}

/// A file may not grow any more (`EFBIG`, `setrlimit(2)`): nobody has to be root for this one.
pub(super) fn on_sqlite_limited(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let url = format!("sqlite:{}", stage.directory.join("limited.db").display());
    let quittance = stage.quittance("server", &url)?;
    let server = process::Server::start(&mut told_by_errors(&quittance), &quittance.log())?;
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).context("not a process id")?;
    let limit = |bytes: Option<u64>| {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(pid), Resource::Fsize, limit).map(drop).context("the server's files cannot be limited")
    };
    // The log may grow to the same length, and cannot be begun anew while the file is short of what is in it.
    let file_len = || stage.directory.join("limited.db").metadata().map_or(0, |file| file.len());
    let full = || limit(Some(file_len() + BYTES_LEFT));
    let room = || limit(None).map(|()| "the limit was lifted".to_owned());
    play(stage, "SQLite, limited file size", &quittance, server, &url, full, room)
}

/// All of PostgreSQL is on the small disk: tables, indexes and its log.
pub(super) fn on_postgres(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let disk = match Disk::mount(&stage.directory.join("disk"), POSTGRES_DISK) {
        Ok(disk) => disk,
        Err(why) => return Ok(Row::left_out(stage.fault.name(), "PostgreSQL, small disk", format!("{why:#}"))),
    };
    let mut settings = stage.plan.postgres.clone();
    settings.parent = disk.path().to_owned();
    settings.more.extend([("min_wal_size", "32MB"), ("max_wal_size", "64MB")].map(|(k, v)| (k.into(), v.into())));
    let mut postgres = Server::start(settings)?;
    postgres.query("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
    let url = postgres.url(DATABASE);
    let quittance = stage.quittance("server", &url)?;
    let server = quittance.serve()?;
    let name = format!("PostgreSQL {}, small disk", postgres.version());
    let full = || disk.fill_up_but(BYTES_LEFT);
    let room = || {
        disk.give_room()?;
        let by_itself = comes_back(&postgres);
        if !by_itself {
            postgres.kill_hard()?;
            postgres.start_again()?;
        }
        let how = if by_itself { "PostgreSQL went on by itself" } else { "PostgreSQL had ended and was started again" };
        Ok(format!("a large file was deleted, {how}"))
    };
    play(stage, &name, &quittance, server, &url, full, room)
}

fn comes_back(postgres: &Server) -> bool {
    let started = Instant::now();
    while postgres.query(DATABASE, "SELECT 1").is_err() {
        if started.elapsed() > RECOVERY_MAX {
            return false;
        }
        process::pause();
    }
    true
}

/// The server, told by an error and not by a signal that its file may not grow, as by a disk.
fn told_by_errors(quittance: &Quittance) -> Command {
    let serve = quittance.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    for (name, value) in serve.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(directory) = serve.get_current_dir() {
        shell.current_dir(directory);
    }
    shell
}

fn play(
    stage: &Stage<'_>,
    database: &str,
    quittance: &Quittance,
    mut server: process::Server,
    database_url: &str,
    full: impl FnOnce() -> anyhow::Result<()>,
    room: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<Row> {
    let address = server.address;
    let mut wrong = Vec::new();
    let (done, ledger): (String, Ledger) = traffic::send(
        &stage.requests,
        &stage.indices()?,
        stage.rate(1),
        &[address],
        |traffic| {
            traffic.wait_for_share(FULL_AT)?;
            full()?;
            let filled = Instant::now();
            traffic.wait_for_refusals(REFUSALS)?;
            wrong.extend(while_it_is_full(stage, address, traffic)?);
            let full_for = filled.elapsed();
            let how = room()?;
            traffic.mark();
            let after = traffic.first_acknowledged()?;
            Ok(format!(
                "full at {:.0} % of the load for {:.1} s, {how}, acknowledged again {} ms after that, without a restart \
                 of the server",
                FULL_AT * 100.0,
                full_for.as_secs_f64(),
                after.as_millis()
            ))
        },
    )?;
    if !server.runs() {
        wrong.push("the server ended".to_owned());
    }
    let scene = Scene { requests: &stage.requests, ledger: &ledger, address, quittance, database_url };
    let mut found = look(&scene)?;
    found.wrong.extend(wrong);
    Ok(Row::new(stage.fault.name(), database, vec![done], &ledger, found))
}

/// What it says of itself: alive, not ready, and come again.
fn while_it_is_full(stage: &Stage<'_>, address: SocketAddr, traffic: &Traffic<'_>) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let (alive, _) = quittance::get(address, "/healthz", None)?;
    if alive != 200 {
        wrong.push(format!("/healthz says {alive} while the disk is full"));
    }
    let ready = || Ok(quittance::get(address, "/readyz", None)?.0 == 503);
    if traffic.wait_for("/readyz says 503 while the disk is full", ready).is_err() {
        wrong.push("/readyz never said 503 while the disk was full".to_owned());
    }
    let refused = traffic.wait_for("a delivery is refused with Retry-After", || {
        let head = quittance::head_of_reply(address, stage.requests.bytes(stage.requests.len() as u32 - 1))?;
        Ok(head.starts_with("HTTP/1.1 503") && head.to_ascii_lowercase().contains("\r\nretry-after: "))
    });
    wrong.extend(refused.err().map(|error| format!("{error:#}")));
    Ok(wrong)
}
