//! The load generator: one thread, one epoll, keep-alive connections, at most one
//! request under way on each.
//!
//! It shares two cores with the server that it measures, so it does as little as it
//! can: requests are slices of one buffer, a turn is one `write` and one `read`, and
//! nothing is allocated. It keeps a ledger, outside the system under test, of every
//! event that was acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::requests::Requests;
use crate::schedule::Schedule;
use crate::{process, reply};

/// A reply is awaited this long; then the run ends, and says what is missing.
const STALL_MAX: Duration = Duration::from_secs(30);
/// A turn of the loop waits no longer than this, so that the observer is called.
const TURN_MAX: Duration = Duration::from_millis(1);
const REPLY_LEN_TYPICAL: usize = 1_024;
const REPLY_LEN_MAX: usize = 1 << 20;
/// Latencies are counted in microseconds, to three digits, up to a minute.
const LATENCY_MICROS_MAX: u64 = 60_000_000;

/// What to send, where and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    pub address: SocketAddr,
    pub connections: usize,
    pub pace: Pace,
    pub amount: Amount,
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Each connection sends its next request when it has its reply.
    Closed,
    /// Requests are sent at this rate, and latency counts from when one was due.
    Open { per_second: f64 },
}

#[derive(Clone, Debug)]
pub enum Amount {
    /// These requests, by index, once each and in this order.
    Each(Vec<u32>),
    /// All requests, over and over, for this long.
    For(Duration),
    /// As `Each`, but none is begun after this long.
    Within(Vec<u32>, Duration),
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// From the first request to the last reply.
    pub elapsed: Duration,
    pub by_status: BTreeMap<u16, u64>,
    /// Indices of the requests that were answered with a 2xx, in that order.
    pub acknowledged: Vec<u32>,
    /// Indices of the requests that were sent and never answered: the server may
    /// have stored them or not.
    pub unanswered: Vec<u32>,
    /// Connections that the server closed, or that broke.
    pub connections_lost: usize,
    /// Of acknowledged requests, in microseconds.
    pub latency: Histogram<u64>,
    /// Of answers other than a 2xx, in microseconds.
    pub latency_refused: Histogram<u64>,
    /// Processor time that the generator itself took.
    pub own_cpu: Option<Duration>,
}

impl Report {
    pub fn acknowledged_per_second(&self) -> f64 {
        self.acknowledged.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Of one processor.
    pub fn own_cpu_share(&self) -> Option<f64> {
        self.own_cpu.map(|cpu| cpu.as_secs_f64() / self.elapsed.as_secs_f64())
    }

    /// Answers other than a 2xx.
    pub fn refused(&self) -> u64 {
        self.by_status.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, count)| count).sum()
    }
}

struct Connection {
    stream: TcpStream,
    under_way: Option<UnderWay>,
    reply: Vec<u8>,
    reply_len: usize,
    open: bool,
}

struct UnderWay {
    index: u32,
    since: Instant,
    written: usize,
}

/// Runs the plan to its end. The observer is called after each turn of the loop, at
/// least every few milliseconds, with the number of requests acknowledged so far; it
/// may end the server.
///
/// # Errors
/// When connecting or polling fails. A connection that breaks later is counted.
pub fn run(plan: &Plan, requests: &Requests, observer: &mut dyn FnMut(usize)) -> io::Result<Report> {
    Run::connect(plan, requests)?.drive(observer)
}

struct Run<'a> {
    plan: &'a Plan,
    requests: &'a Requests,
    poll: Poll,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    started: Instant,
    sent: u64,
    open: usize,
    report: Report,
}

impl<'a> Run<'a> {
    fn connect(plan: &'a Plan, requests: &'a Requests) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let stream = std::net::TcpStream::connect(plan.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
            let reply = vec![0; REPLY_LEN_TYPICAL];
            connections.push(Connection { stream, under_way: None, reply, reply_len: 0, open: true });
        }
        Ok(Self {
            plan,
            requests,
            poll,
            idle: (0..plan.connections).collect(),
            open: connections.len(),
            connections,
            started: Instant::now(),
            sent: 0,
            report: Report {
                elapsed: Duration::ZERO,
                by_status: BTreeMap::new(),
                acknowledged: Vec::with_capacity(requests.len()),
                unanswered: Vec::new(),
                connections_lost: 0,
                latency: Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).map_err(io::Error::other)?,
                latency_refused: Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).map_err(io::Error::other)?,
                own_cpu: None,
            },
        })
    }

    fn drive(mut self, observer: &mut dyn FnMut(usize)) -> io::Result<Report> {
        let mut events = Events::with_capacity(self.plan.connections.max(1));
        let cpu_before = process::cpu_of_this_thread();
        self.started = Instant::now();
        let mut last_reply = self.started;
        loop {
            let more = self.send_due();
            let under_way = self.open - self.idle.len();
            let now = Instant::now();
            let stalled = now.duration_since(last_reply) > STALL_MAX;
            if self.open == 0 || (under_way == 0 && !more) || (under_way > 0 && stalled) {
                break;
            }
            if let Err(error) = self.poll.poll(&mut events, Some(TURN_MAX))
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in &events {
                let number = event.token().0;
                if event.is_writable() {
                    self.write(number);
                }
                if (event.is_readable() || event.is_read_closed()) && self.read(number) {
                    last_reply = Instant::now();
                }
            }
            observer(self.report.acknowledged.len());
        }
        self.report.elapsed = last_reply.duration_since(self.started);
        self.report.own_cpu =
            process::cpu_of_this_thread().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
        self.report.unanswered.extend(self.connections.iter().filter_map(|c| Some(c.under_way.as_ref()?.index)));
        Ok(self.report)
    }

    /// Sends what is due on idle connections. Returns whether more is to come.
    fn send_due(&mut self) -> bool {
        while let Some(index) = self.next_index() {
            let since = match self.plan.pace {
                Pace::Closed => Instant::now(),
                Pace::Open { per_second } => {
                    let due = self.started + Schedule::new(per_second).due(self.sent);
                    if due > Instant::now() {
                        return true;
                    }
                    due
                }
            };
            let Some(number) = self.idle.pop_front() else { return true };
            self.send(number, index, since);
        }
        false
    }

    /// The request to send next, if any is left.
    fn next_index(&self) -> Option<u32> {
        match &self.plan.amount {
            Amount::Within(_, duration) if self.started.elapsed() >= *duration => None,
            Amount::Each(indices) | Amount::Within(indices, _) => {
                indices.get(usize::try_from(self.sent).ok()?).copied()
            }
            Amount::For(duration) => {
                let index = self.sent.checked_rem(self.requests.len() as u64)?;
                (self.started.elapsed() < *duration).then_some(u32::try_from(index).ok()?)
            }
        }
    }

    fn send(&mut self, number: usize, index: u32, since: Instant) {
        self.sent += 1;
        self.connections[number].under_way = Some(UnderWay { index, since, written: 0 });
        self.write(number);
    }

    /// Writes what the socket takes; the rest goes when it is writable again.
    fn write(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        let Some(under_way) = connection.under_way.as_mut().filter(|_| connection.open) else { return };
        let bytes = self.requests.bytes(under_way.index);
        while under_way.written < bytes.len() {
            match connection.stream.write(&bytes[under_way.written..]) {
                Ok(len) => under_way.written += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lose(number),
            }
        }
    }

    /// Reads a reply; a closed loop then sends its next request on the same
    /// connection. Returns whether a whole reply came.
    fn read(&mut self, number: usize) -> bool {
        let reply = loop {
            let connection = &mut self.connections[number];
            if !connection.open {
                return false;
            }
            if connection.reply_len == connection.reply.len() {
                connection.reply.resize((connection.reply.len() * 2).min(REPLY_LEN_MAX), 0);
            }
            match connection.stream.read(&mut connection.reply[connection.reply_len..]) {
                Ok(0) => {
                    self.lose(number);
                    return false;
                }
                Ok(len) => connection.reply_len += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.lose(number);
                    return false;
                }
            }
            match reply::read(&connection.reply[..connection.reply_len]) {
                Ok(Some(reply)) => break reply,
                Ok(None) => {}
                Err(_) => {
                    self.lose(number);
                    return false;
                }
            }
        };
        let now = Instant::now();
        let connection = &mut self.connections[number];
        connection.reply_len = 0;
        let Some(done) = connection.under_way.take() else {
            self.lose(number); // A reply that nobody asked for.
            return false;
        };
        self.record(&done, reply.status, now);
        if reply.closes {
            self.lose(number);
            return true;
        }
        match self.next_index().filter(|_| matches!(self.plan.pace, Pace::Closed)) {
            Some(index) => self.send(number, index, now),
            None => self.idle.push_back(number),
        }
        true
    }

    fn record(&mut self, done: &UnderWay, status: u16, now: Instant) {
        *self.report.by_status.entry(status).or_default() += 1;
        let micros = u64::try_from(now.duration_since(done.since).as_micros()).unwrap_or(u64::MAX);
        let latency = if (200..300).contains(&status) {
            self.report.acknowledged.push(done.index);
            &mut self.report.latency
        } else {
            &mut self.report.latency_refused
        };
        latency.saturating_record(micros.max(1));
    }

    fn lose(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if std::mem::replace(&mut connection.open, false) {
            self.open -= 1;
            self.report.connections_lost += 1;
            self.idle.retain(|idle| *idle != number);
        }
    }
}
