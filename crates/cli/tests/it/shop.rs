//! A folder with a database of its own, in which `quittance` is run, and the server
//! in it. Both make sure that nothing panicked and that no secret was shown.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bench::{process, quittance};
use domain::Timestamp;
use gateways::stripe::sample::{Overrides, SampleEvent, Sampler};
use gateways::{Secret, stripe};
use secrecy::SecretString;
use serde_json::Value;
use testdb::{Database, wait};

pub const SECRET: &str = "whsec_cli_6b1f0e3d9a72c845";
pub const PATH: &str = "/api/webhooks/stripe";
/// What is waited for comes in milliseconds; a busy machine may take seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        process::pause();
    }
}

/// Where `quittance` is run, with nothing of the caller's around it.
pub struct Shop {
    folder: tempfile::TempDir,
    database: Database,
}

/// Runs each test, a function that takes a shop, on every database.
macro_rules! on_each {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $test() {
                super::$test($crate::shop::Shop::new());
            })+
        }
        mod postgres {
            $(#[test]
            fn $test() {
                super::$test($crate::shop::Shop::on_postgres());
            })+
        }
    };
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Standard output, of a command that has to succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        self.exits(0).stdout
    }

    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The error, of a command that has to fail: one line for people.
    #[track_caller]
    pub fn error(self) -> String {
        let said = self.exits(1);
        assert_eq!(said.stderr.lines().count(), 1, "one line: {}", said.stderr);
        assert!(said.stderr.starts_with("quittance: "), "{}", said.stderr);
        said.stderr
    }
}

impl Shop {
    /// On SQLite, in the file that it has without configuration.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let database = Database::sqlite_file(&folder.path().join("quittance.db"));
        Self { folder, database }
    }

    pub fn on_postgres() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        Self { folder, database: wait(Database::postgres()) }
    }

    /// Another one, on a database of the same kind.
    pub fn another(&self) -> Self {
        if self.database.is_postgres() { Self::on_postgres() } else { Self::new() }
    }

    /// As somebody reaches it who has the database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), content).expect(name);
        self.path(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quittance"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        let ours = [
            "QUITTANCE_",
            "STRIPE_",
            "PAYPAL_",
            "WEBHOOK_SECRET",
            "PAYMENT_API_KEY",
            "DATABASE_URL",
            "PORT",
            "LOGGING_SERVICE_URL",
            "http_proxy",
            "HTTP_PROXY",
        ];
        for (name, _) in std::env::vars_os() {
            if ours.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        if self.database.is_postgres() {
            command.env("DATABASE_URL", self.database.url());
        }
        command.env("STRIPE_WEBHOOK_SECRET", SECRET);
        command
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments))
    }

    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut command = self.command(arguments);
        let mut child = spawn(command.stdin(Stdio::piped()));
        child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
        ended(child)
    }

    /// Serves on a free port.
    pub fn serve(&self) -> Server {
        Server::start(&mut self.command(&["serve", "--listen", "127.0.0.1:0"]))
    }

    /// A fresh API key.
    pub fn key(&self, scope: &str) -> String {
        self.run(&["keys", "create", "--scope", scope]).ok().trim().to_owned()
    }
}

/// Runs a command to its end; one that does not end fails, and is ended.
#[track_caller]
pub fn said(command: &mut Command) -> Said {
    ended(spawn(command))
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

#[track_caller]
fn ended(mut child: Child) -> Said {
    let mut stdout = Heard::listen(child.stdout.take().expect("a pipe"));
    let mut stderr = Heard::listen(child.stderr.take().expect("a pipe"));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it does not end: {}{}", stdout.so_far(), stderr.so_far());
        }
        process::pause();
    };
    stdout.end();
    stderr.end();
    let said = Said { status: status.code(), stdout: stdout.so_far(), stderr: stderr.so_far() };
    clean(&said.stdout);
    clean(&said.stderr);
    said
}

/// Whatever is printed holds no secret and no panic.
#[track_caller]
fn clean(text: &str) {
    assert!(!text.contains("panicked at"), "{text}");
    assert!(!text.contains("whsec_"), "a secret is shown: {text}");
}

/// Reads a pipe to its end, in the background.
struct Heard {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Heard {
    fn listen(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = text.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut text = lock(&shared);
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        lock(&self.text).clone()
    }

    fn end(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running server; ended when dropped, and looked over then.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    stdout: Heard,
    stderr: Heard,
}

impl Server {
    /// Starts it and waits until it says that it listens.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = Heard::listen(child.stdout.take().expect("a pipe"));
        let stderr = Heard::listen(child.stderr.take().expect("a pipe"));
        let mut server = Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), stdout, stderr };
        server.address = until("it listens", || {
            let ended = server.child.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended ({ended:?}): {}", server.log());
            let said = server.stdout();
            let rest = said.split_once("http://")?.1;
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
            rest[..end].parse().ok()
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    pub fn log(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until it logged this; logging lags behind what is done.
    pub fn logs(&self, text: &str) -> String {
        until(text, || Some(self.log()).filter(|log| log.contains(text)))
    }

    /// `TERM`, `INT`
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(kill.expect("kill is there").success(), "the signal is sent");
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let status = until("it ends", || self.child.try_wait().expect("a child"));
        self.stdout.end();
        self.stderr.end();
        status
    }

    /// As [`Self::ended`], after a polite request.
    pub fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.ended().code(), Some(0), "{}", self.log());
    }

    pub fn get(&self, path: &str, key: &str) -> (u16, Value) {
        let (status, body) = quittance::get(self.address, path, Some(key)).expect(path);
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    /// What a `GET` finds.
    #[track_caller]
    pub fn found(&self, path: &str, key: &str) -> Value {
        let (status, found) = self.get(path, key);
        assert_eq!(status, 200, "{path}: {found}");
        found
    }

    /// What a `POST` with a key is answered.
    pub fn post(&self, path: &str, key: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: shop.test\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let (status, reply) = quittance::send(self.address, request.as_bytes()).expect("a reply");
        (status, serde_json::from_slice(&reply).expect("JSON"))
    }

    /// Delivers a body, signed now with this secret.
    pub fn deliver(&self, path: &str, secret: &str, body: &str) -> (u16, Value) {
        let request = request(path, secret, body);
        let (status, reply) = quittance::send(self.address, request.as_bytes()).expect("a reply");
        (status, serde_json::from_slice(&reply).expect("JSON"))
    }

    /// Waits until everything that was accepted is applied.
    pub fn applied(&self) {
        quittance::wait_until_applied(self.address, PATIENCE).expect("all is applied");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It may have ended already.
        let _ = self.child.wait();
        self.stdout.end();
        self.stderr.end();
        if !std::thread::panicking() {
            clean(&self.stdout());
            clean(&self.log());
        }
    }
}

/// A delivery as it goes over the wire.
pub fn request(path: &str, secret: &str, body: &str) -> String {
    let now = Timestamp::from_seconds(bench::now_seconds());
    let signature = stripe::sign(&Secret::from_text(&SecretString::from(secret)), now, body.as_bytes());
    format!(
        "POST {path} HTTP/1.1\r\nHost: shop.test\r\nContent-Type: application/json\r\nStripe-Signature: {signature}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A lifelike event of now.
pub fn sample(seed: u64, event_type: &str) -> SampleEvent {
    let now = Timestamp::from_seconds(bench::now_seconds());
    Sampler::new(seed).single(event_type, now, &Overrides::default()).expect(event_type)
}

/// Each line of a text as JSON.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A file of the recorded events and signature vectors, which are not part of this
/// repository.
pub fn corpus(path: &str) -> PathBuf {
    let root = std::env::var_os("QUITTANCE_CORPUS").expect("QUITTANCE_CORPUS is not set: run `cargo xtask test`");
    Path::new(&root).join(path)
}

/// Runs a Python script with the official `stripe` package at hand.
pub fn python(script: &str, arguments: &[&str]) -> Command {
    let python = std::env::var_os("QUITTANCE_PYTHON").expect("QUITTANCE_PYTHON is not set: run `cargo xtask test`");
    let mut command = Command::new(python);
    command.arg("-c").arg(script).args(arguments).env("NO_PROXY", "127.0.0.1");
    command
}
