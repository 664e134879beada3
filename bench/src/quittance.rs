//! The real binary on a scratch database: start it, ask it, check it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::process::Server;
use crate::reply;
use crate::requests::SECRET;

const REQUEST_MAX: Duration = Duration::from_secs(30);
/// At a backlog: counting it costs the server something, and a run takes many seconds.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The API's own limit on a page.
const PAGE_LEN: usize = 200;

/// A `quittance` binary with a directory and a database of its own.
#[derive(Clone, Debug)]
pub struct Quittance {
    binary: PathBuf,
    directory: PathBuf,
    database_url: String,
    log_level: String,
}

/// The part of the health reply that is of use here.
#[derive(Clone, Debug, Deserialize)]
pub struct Health {
    pub status: String,
    /// Unless it is `ok`, the rest is not known.
    pub database: String,
    pub backlog: u64,
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

/// The part of a listed event that is of use here.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    pub event_id: String,
    pub event_type: String,
    pub state: String,
}

/// Stored events by state.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Counts {
    pub total: u64,
    pub applied: u64,
    pub ignored: u64,
}

/// The part of a listed payment that is of use here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Payment {
    pub gateway_transaction_id: Option<String>,
    #[serde(alias = "payment_status")]
    pub status: String,
    pub dispute_status: String,
    pub amount_captured: i64,
    pub amount_refunded: i64,
}

impl Quittance {
    /// On a SQLite file in `directory`, which exists and is empty, or is that of an earlier run.
    pub fn new(binary: &Path, directory: &Path, log_level: &str) -> Self {
        Self {
            binary: binary.to_owned(),
            directory: directory.to_owned(),
            database_url: format!("sqlite:{}", directory.join("quittance.db").display()),
            log_level: log_level.to_owned(),
        }
    }

    /// The same on another database.
    pub fn on(mut self, database_url: &str) -> Self {
        database_url.clone_into(&mut self.database_url);
        self
    }

    /// A command of the binary, on this database and in this directory, so that no
    /// configuration file of the caller's is found.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env("DATABASE_URL", &self.database_url)
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .env("QUITTANCE_LOG", &self.log_level);
        for name in ["QUITTANCE_LISTEN", "PORT", "STRIPE_SECRET_KEY", "LOGGING_SERVICE_URL"] {
            command.env_remove(name);
        }
        command
    }

    /// Serves on a free port.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn serve(&self) -> anyhow::Result<Server> {
        Server::start(&mut self.command(&["serve", "--listen", "127.0.0.1:0"]), &self.log())
    }

    pub fn log(&self) -> PathBuf {
        self.directory.join("serve.log")
    }

    /// Runs a command to its end and returns its standard output.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub fn output(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output =
            self.command(arguments).output().with_context(|| format!("cannot run {}", self.binary.display()))?;
        ensure!(
            output.status.success(),
            "`quittance {}` failed ({}): {}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A new key that may read.
    ///
    /// # Errors
    /// When the command fails.
    pub fn read_key(&self) -> anyhow::Result<String> {
        Ok(self.output(&["keys", "create", "--scope", "read"])?.trim().to_owned())
    }
}

/// # Errors
/// When the server does not answer, or not in the form that is documented.
pub fn health(address: SocketAddr) -> anyhow::Result<Health> {
    let (_, body) = get(address, "/api/webhooks/health", None)?;
    serde_json::from_slice(&body).context("the health reply is not what is documented")
}

/// Waits until nothing that was accepted is still to be applied.
///
/// # Errors
/// When that takes longer than `wait_max`, or the server goes away.
pub fn wait_until_applied(address: SocketAddr, wait_max: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + wait_max;
    loop {
        let Health { database, backlog, .. } = health(address)?;
        if database == "ok" && backlog == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{backlog} events are still not applied after {wait_max:?} (database {database})");
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Every row of a list of the API, such as `/api/webhooks/events`.
///
/// # Errors
/// When the listing fails, or is not in the form that is documented.
pub fn list<T: DeserializeOwned>(address: SocketAddr, key: &str, path: &str) -> anyhow::Result<Vec<T>> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let (status, body) = get(address, &format!("{path}?limit={PAGE_LEN}{cursor}"), Some(key))?;
        ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
        let page: Page<T> = serde_json::from_slice(&body).with_context(|| format!("{path} is not as documented"))?;
        rows.extend(page.data);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(rows),
        }
    }
}

/// How many events are stored, and in which state.
///
/// # Errors
/// When the server does not answer, or not in the form that is documented.
pub fn counts(address: SocketAddr, key: &str) -> anyhow::Result<Counts> {
    let (status, body) = get(address, "/api/webhooks/stats?since=1970-01-01T00:00:00Z", Some(key))?;
    ensure!(status == 200, "stats: {status} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).context("the stats are not what is documented")
}

/// # Errors
/// As [`list`].
pub fn events(address: SocketAddr, key: &str) -> anyhow::Result<Vec<Event>> {
    list(address, key, "/api/webhooks/events")
}

/// # Errors
/// As [`list`].
pub fn payments(address: SocketAddr, key: &str) -> anyhow::Result<Vec<Payment>> {
    list(address, key, "/api/payments")
}

/// One GET on a connection of its own: status and body.
///
/// # Errors
/// When there is no whole reply in time.
pub fn get(address: SocketAddr, path: &str, key: Option<&str>) -> anyhow::Result<(u16, Vec<u8>)> {
    let authorization = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    send(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n").as_bytes(),
    )
}

/// Sends whole request bytes on a connection of their own: status and body.
///
/// # Errors
/// When there is no whole reply in time.
pub fn send(address: SocketAddr, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
    let (reply, bytes) = exchange(address, request)?;
    Ok((reply.status, bytes[reply.head_len..reply.len].to_vec()))
}

/// As [`send`]: the reply's first line and headers.
///
/// # Errors
/// As [`send`].
pub fn head_of_reply(address: SocketAddr, request: &[u8]) -> anyhow::Result<String> {
    let (reply, bytes) = exchange(address, request)?;
    Ok(String::from_utf8_lossy(&bytes[..reply.head_len]).into_owned())
}

fn exchange(address: SocketAddr, request: &[u8]) -> anyhow::Result<(reply::Reply, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, REQUEST_MAX)?;
    stream.set_read_timeout(Some(REQUEST_MAX))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(reply) = reply::read(&bytes)? {
            return Ok((reply, bytes));
        }
        let len = stream.read(&mut chunk)?;
        ensure!(len > 0, "the server closed the connection within a reply");
        bytes.extend_from_slice(&chunk[..len]);
    }
}
