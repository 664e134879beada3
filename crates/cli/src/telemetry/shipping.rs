//! Lines of the log, shipped to a logging service over HTTP: a POST of a JSON array for
//! each batch. On a thread of its own, so that a service that is slow or away holds up
//! nothing: lines that find no room are counted and dropped.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt::MakeWriter;

/// Lines in one request, and how long the first of them waits for more.
const BATCH_LINES_MAX: usize = 500;
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// Lines that may wait for the service; more are dropped, because a log must not hold
/// up a payment.
const WAITING_LINES_MAX: usize = 16 * 1024;
/// How long the service may take for a batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses before a batch is sent again; after the last one it is dropped.
const PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(1000), Duration::from_millis(4000)];
/// How long what still waits may take at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two complaints about the service.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

thread_local! {
    /// Set on the threads that ship: what they log is not shipped, because each batch
    /// would make the next.
    static SHIPS: Cell<bool> = const { Cell::new(false) };
}

/// Lets through what was not logged by the shipping itself.
pub fn not_its_own() -> FilterFn {
    FilterFn::new(|_| !SHIPS.get())
}

/// Where the log's lines are handed in. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub struct Lines {
    queue: mpsc::Sender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl io::Write for Lines {
    /// A whole line at once, as the subscriber writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(line.trim_ascii_end().to_vec()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The shipping, while it is held. Dropping it ships what waits, as far as it gets in
/// two seconds.
#[derive(Debug)]
pub struct Shipping {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shipping {
    pub fn start(service: &SecretString) -> anyhow::Result<(Self, Lines)> {
        let (queue, inbox) = mpsc::channel(WAITING_LINES_MAX);
        let lines = Lines { queue, dropped: Arc::default() };
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_start(|| SHIPS.set(true))
            .build()
            .context("logs cannot be shipped")?;
        let (service, dropped) = (service.clone(), lines.dropped.clone());
        let run = move || {
            SHIPS.set(true);
            runtime.block_on(async {
                match Shipper::new(service, inbox, dropped) {
                    Ok(shipper) => shipper.run(stopped).await,
                    Err(error) => tracing::error!(%error, "Logs are not shipped"),
                }
            });
            runtime.shutdown_background(); // A name that is still looked up is nobody's concern.
        };
        let thread = std::thread::Builder::new().name("log-shipping".to_owned()).spawn(run);
        let thread = thread.context("logs cannot be shipped")?;
        Ok((Self { stop: Some(stop), thread: Some(thread) }, lines))
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // It ends within `FLUSH_TIMEOUT`.
        }
    }
}

/// What the thread does.
struct Shipper {
    client: reqwest::Client,
    service: SecretString,
    inbox: mpsc::Receiver<Vec<u8>>,
    /// Lines that found no room since it was last said.
    dropped: Arc<AtomicU64>,
    complained_at: Option<Instant>,
    /// Lines lost since the last complaint.
    lost: u64,
}

impl Shipper {
    fn new(service: SecretString, inbox: mpsc::Receiver<Vec<u8>>, dropped: Arc<AtomicU64>) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(SEND_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("Quittance/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, service, inbox, dropped, complained_at: None, lost: 0 })
    }

    /// Ships until it is told to stop, then what is left.
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH_LINES_MAX);
        let stopped = &mut stopped;
        loop {
            let shipped = async {
                if batch.is_empty() {
                    self.gather(&mut batch).await;
                }
                self.ship(&batch, &PAUSES).await;
            };
            tokio::select! {
                () = shipped => batch.clear(),
                _ = &mut *stopped => break,
            }
        }
        let rest = async {
            loop {
                if !batch.is_empty() {
                    self.ship(&batch, &[]).await;
                    batch.clear();
                }
                while batch.len() < BATCH_LINES_MAX
                    && let Ok(line) = self.inbox.try_recv()
                {
                    batch.push(line);
                }
                self.say_dropped(&mut batch);
                if batch.is_empty() {
                    return;
                }
            }
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, rest).await.is_err() {
            tracing::warn!("The last lines of the log were not shipped in time");
        }
    }

    /// Waits for a line, and a little for those that follow it.
    async fn gather(&mut self, batch: &mut Vec<Vec<u8>>) {
        if self.inbox.recv_many(batch, BATCH_LINES_MAX).await == 0 {
            std::future::pending::<()>().await; // No more lines come; the order to stop will.
        }
        let full_at = Instant::now() + BATCH_WAIT;
        while batch.len() < BATCH_LINES_MAX {
            let room = BATCH_LINES_MAX - batch.len();
            match tokio::time::timeout_at(full_at, self.inbox.recv_many(batch, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        self.say_dropped(batch);
    }

    /// A line in place of those that are missing before it.
    fn say_dropped(&self, batch: &mut Vec<Vec<u8>>) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let line = serde_json::json!({
                "timestamp": engine::Clock::System.now().to_string(), "level": "WARN", "target": "quittance",
                "message": format!("{dropped} lines dropped"), "dropped": dropped,
            });
            batch.push(line.to_string().into_bytes());
            tracing::warn!(dropped, "Lines of the log were not shipped: the logging service is too slow");
        }
    }

    /// Sends a batch, again after each pause if it has to be.
    async fn ship(&mut self, batch: &[Vec<u8>], pauses: &[Duration]) {
        let mut body = vec![b'['];
        for (number, line) in batch.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            body.extend_from_slice(line);
        }
        body.push(b']');
        let body = bytes::Bytes::from(body);
        let mut pauses = pauses.iter();
        loop {
            let Err(error) = self.send(body.clone()).await else { return };
            match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return self.complain(batch.len(), error),
            }
        }
    }

    async fn send(&self, body: bytes::Bytes) -> reqwest::Result<()> {
        let request = self.client.post(self.service.expose_secret()).header(CONTENT_TYPE, "application/json");
        let reply = request.body(body).send().await.and_then(reqwest::Response::error_for_status);
        reply.map(|_| ()).map_err(reqwest::Error::without_url) // A token may be part of it.
    }

    fn complain(&mut self, lines: usize, error: reqwest::Error) {
        self.lost += lines as u64;
        if self.complained_at.is_some_and(|at| at.elapsed() < COMPLAINT_INTERVAL) {
            return;
        }
        self.complained_at = Some(Instant::now());
        let lost = std::mem::take(&mut self.lost);
        let error = crate::output::line(&anyhow::Error::new(error));
        tracing::warn!(lost, error, "Lines of the log were not shipped: the logging service does not take them");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_without_room_are_counted_and_the_next_batch_says_so() {
        let (queue, mut inbox) = mpsc::channel(2);
        let mut lines = Lines { queue, dropped: Arc::default() };
        for number in 0..5 {
            let line = format!("{{\"number\":{number}}}\n");
            lines.write_all(line.as_bytes()).expect("it never fails");
        }
        let waiting: Vec<Vec<u8>> = std::iter::from_fn(|| inbox.try_recv().ok()).collect();
        assert_eq!(waiting, [&b"{\"number\":0}"[..], b"{\"number\":1}"]);
        let dropped = lines.dropped.clone();
        let shipper = Shipper::new(SecretString::from("http://127.0.0.1/"), inbox, dropped).expect("a client");
        let mut batch = waiting;
        shipper.say_dropped(&mut batch);
        let notice: serde_json::Value = serde_json::from_slice(&batch[2]).expect("JSON");
        assert_eq!((&notice["message"], &notice["dropped"]), (&"3 lines dropped".into(), &3.into()));
        shipper.say_dropped(&mut batch);
        assert_eq!(batch.len(), 3, "once");
    }
}
