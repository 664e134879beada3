//! Servers as child processes, and what the kernel says of their memory and time.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};

/// A server that does not say within this time that it listens has failed.
const START_MAX: Duration = Duration::from_secs(30);
/// What a server prints once it accepts, before its address.
const LISTENING: &str = "listening on http://";
/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every Linux port.
const TICKS_PER_SECOND: u64 = 100;

/// A running server. Killed when dropped; only ever this child.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// When the process was started.
    pub started: Instant,
}

/// Resident memory in kilobytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub now_kb: u64,
    pub peak_kb: u64,
}

impl Server {
    /// Starts a server and returns once it listens. What it logs goes to the end of `log`.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not listen in time; says what it logged last.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log_file = File::options().create(true).append(true).open(log).context("cannot open the server's log")?;
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = child.stdout.take().context("the server has no standard output")?;
        let (sender, receiver) = mpsc::channel();
        // Reads on after the address, so that the server never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.split_once(LISTENING).and_then(|(_, rest)| rest.trim().parse().ok()) {
                    let _ = sender.send(address); // Said twice: the first is in use.
                }
            }
        });
        match receiver.recv_timeout(START_MAX) {
            Ok(address) => Ok(Self { child, address, started }),
            Err(_) => {
                let _ = child.kill();
                let status = child.wait()?;
                Err(anyhow!("the server did not start ({status}): {}", last_lines(log)))
            }
        }
    }

    /// Ends it as a crash would, with SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // It may have ended already.
        let _ = self.child.wait();
    }

    /// Asks it to end, with SIGTERM, and waits until it has: a server of several
    /// processes ends them all. After `wait_max` it is killed.
    pub fn end(&mut self, wait_max: Duration) {
        let deadline = Instant::now() + wait_max;
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM); // It may have ended already.
        }
        while self.runs() && Instant::now() < deadline {
            pause();
        }
        self.kill();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `None` where there is no `/proc`.
    pub fn memory(&self) -> Option<Memory> {
        memory_of(&std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?)
    }

    /// Processor time of all its threads so far; `None` where there is no `/proc`.
    pub fn cpu(&self) -> Option<Duration> {
        cpu_of(&std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of a log, for an error.
pub fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

/// Processor time of the calling thread; `None` where there is no `/proc`.
pub fn cpu_of_this_thread() -> Option<Duration> {
    cpu_of(&std::fs::read_to_string("/proc/thread-self/stat").ok()?)
}

/// Processor time that all programs of this machine took so far; `None` where there is
/// no `/proc`.
pub fn cpu_of_this_machine() -> Option<Duration> {
    busy_of(&std::fs::read_to_string("/proc/stat").ok()?)
}

fn memory_of(status: &str) -> Option<Memory> {
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Memory { now_kb: kilobytes("VmRSS:")?, peak_kb: kilobytes("VmHWM:")? })
}

/// The 14th and 15th field; the second, a name in brackets, may hold anything.
fn cpu_of(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND))
}

/// The first line: user, nice, system, idle, waiting for disks, interrupts, soft interrupts.
fn busy_of(stat: &str) -> Option<Duration> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (user, nice, system, _idle, _waiting, hard, soft) =
        (next()?, next()?, next()?, next()?, next()?, next()?, next()?);
    Some(Duration::from_millis((user + nice + system + hard + soft) * 1_000 / TICKS_PER_SECOND))
}

/// Waits a little between two looks at something outside this process: seldom enough
/// that looking does not slow down what is looked at. For loops with a deadline only.
pub fn pause() {
    std::thread::park_timeout(Duration::from_millis(20));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_status() {
        let status = "Name:\tquittance\nVmHWM:\t   51200 kB\nVmRSS:\t   48000 kB\nThreads:\t4\n";
        assert_eq!(memory_of(status), Some(Memory { now_kb: 48_000, peak_kb: 51_200 }));
        assert_eq!(memory_of("Name:\tquittance\n"), None);
    }

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "42 (a ) name) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_machine_that_waits_is_not_busy() {
        let stat = "cpu  100 10 50 9000 800 30 10 7 0 0\ncpu0 50 5 25 4500 400 15 5 3 0 0\n";
        assert_eq!(busy_of(stat), Some(Duration::from_secs(2)));
        assert_eq!(busy_of(""), None);
    }

    #[test]
    fn a_server_is_asked_to_end_before_it_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let ended = directory.path().join("ended");
        let script = "trap 'touch \"$ENDED\"; exit' TERM; echo listening on http://127.0.0.1:1; while :; do :; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("ENDED", &ended);
        let mut server = Server::start(&mut command, &directory.path().join("log")).unwrap();
        server.end(Duration::from_secs(20));
        assert!(ended.exists() && !server.runs());
    }

    #[test]
    fn a_program_that_does_not_listen_is_an_error_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let error = Server::start(Command::new("sh").args(["-c", "echo no secret >&2; exit 2"]), &log).unwrap_err();
        assert!(error.to_string().contains("no secret"), "{error}");
    }
}
