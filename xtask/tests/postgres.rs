//! The PostgreSQL that tasks start, and that nothing is left of it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xtask::postgres::{Server, Settings};

const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[track_caller]
fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < DEADLINE, "{what}: not after {DEADLINE:?}");
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

fn scratch() -> Server {
    Server::start(Settings::scratch()).expect("PostgreSQL starts")
}

#[track_caller]
fn query(server: &Server, sql: &str) -> String {
    server.query("postgres", sql).expect(sql)
}

/// A client that knows nothing but a URL.
fn psql(url: &str, sql: &str) -> Command {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--no-password", "--no-align", "--tuples-only", "--command", sql, "--dbname", url]);
    psql.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    psql
}

/// The directory that a server lives in, as it says itself.
fn directory_of(server: &Server) -> PathBuf {
    PathBuf::from(query(server, "SHOW data_directory")).parent().expect("one above").to_owned()
}

#[test]
fn what_it_holds_outlives_a_stop_and_not_the_server() {
    let more = vec![("shared_buffers".to_owned(), "16MB".to_owned())];
    let mut server = Server::start(Settings { max_connections: 20, more, ..Settings::scratch() }).unwrap();
    let (port, directory) = (server.port(), directory_of(&server));
    for (name, value) in [
        ("listen_addresses", "127.0.0.1"),
        ("fsync", "off"),
        ("max_connections", "20"),
        ("shared_buffers", "16MB"),
        ("server_encoding", "UTF8"),
    ] {
        assert_eq!(query(&server, &format!("SHOW {name}")), value, "{name}");
    }
    query(&server, "CREATE TABLE kept AS SELECT 7 AS number");

    server.stop().unwrap();
    server.stop().expect("what is stopped may be stopped");
    assert!(server.query("postgres", "SELECT 1").is_err());
    server.start_again().unwrap();
    assert_eq!((server.port(), query(&server, "SELECT number FROM kept")), (port, "7".to_owned()));
    assert!(server.start_again().is_err(), "it runs");

    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!directory.exists());
}

#[test]
fn only_who_has_the_password_comes_in() {
    let server = scratch();
    let url = server.url("postgres");
    assert_eq!(answer(&url, "SELECT 1"), Some("1".to_owned()));
    let (before, after) = url.split_once('@').expect("a password");
    let wrong = psql(&format!("{}x@{after}", &before[..before.len() - 1]), "SELECT 1").output().unwrap();
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("password authentication failed"), "{said}");
}

#[test]
fn a_hard_kill_takes_every_process_and_no_commit() {
    let mut server = Server::start(Settings::durable()).unwrap();
    assert_eq!(query(&server, "SHOW fsync"), "on");
    query(&server, "CREATE TABLE kept AS SELECT 7 AS number");
    let mut client =
        Command::new("psql").args(["-X", "-q", "-d", &server.url("postgres")]).stdin(Stdio::piped()).spawn();
    let client = client.as_mut().unwrap();
    client.stdin.as_mut().unwrap().write_all(b"BEGIN; INSERT INTO kept VALUES (8);\n").unwrap();
    let undecided = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    until("the client is served", || query(&server, undecided) == "1");
    let pids = query(&server, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
    assert!(pids.lines().count() > 3, "the client's and those in the background: {pids}");

    server.kill_hard().unwrap();
    for pid in pids.lines() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "still there: {stat}");
    }
    client.stdin.take().unwrap().write_all(b"COMMIT;\n").unwrap();
    assert!(!client.wait().unwrap().success(), "it was cut off");
    server.start_again().unwrap();
    assert_eq!(query(&server, "SELECT number FROM kept"), "7");
    assert!(server.log().unwrap().contains("was not properly shut down"));
}

#[test]
fn a_promoted_standby_has_whatever_was_committed() {
    let mut primary = scratch();
    query(&primary, "CREATE TABLE kept AS SELECT 1 AS number");
    let standby = Server::standby_of(&primary).unwrap();
    assert_eq!(query(&standby, "SELECT pg_is_in_recovery()"), "t");
    assert!(standby.query("postgres", "INSERT INTO kept VALUES (0)").is_err(), "it only reads");
    query(&primary, "INSERT INTO kept SELECT generate_series(2, 100)");
    primary.kill_hard().unwrap();
    standby.promote().unwrap();
    assert_eq!(query(&standby, "SELECT count(*), sum(number) FROM kept"), "100|5050");
    query(&standby, "INSERT INTO kept VALUES (101)");
    assert!(standby.promote().is_err(), "it is no standby");
}

#[test]
fn nothing_is_committed_that_the_standby_has_not() {
    let primary = scratch();
    query(&primary, "CREATE TABLE kept (number int)");
    let mut standby = Server::standby_of(&primary).unwrap();
    standby.kill_hard().unwrap();
    let mut client = psql(&primary.url("postgres"), "INSERT INTO kept VALUES (1)").spawn().unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until("the commit waits", || query(&primary, waits) == "1");
    assert_eq!(query(&primary, "SELECT count(*) FROM kept"), "0", "nobody sees it");
    assert!(client.try_wait().unwrap().is_none());
    primary.set("synchronous_standby_names", "").unwrap();
    assert!(client.wait().unwrap().success(), "it need not wait any more");
    assert_eq!(query(&primary, "SELECT count(*) FROM kept"), "1");
}

#[test]
fn with_tls_it_proves_who_it_is_and_refuses_to_speak_without() {
    let server = Server::start(Settings { tls: true, ..Settings::scratch() }).unwrap();
    let url = server.url("postgres");
    let is_encrypted = psql(&url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&is_encrypted.stdout), "t\n", "{is_encrypted:?}");
    let in_the_clear = psql(&url.replace("verify-full", "disable"), "SELECT 1").output().unwrap();
    let said = String::from_utf8_lossy(&in_the_clear.stderr);
    assert!(said.contains("no encryption"), "{said}");
}

/// `cargo xtask postgres`, and the URL that it prints.
fn by_hand() -> (Child, String) {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.arg("postgres").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut xtask = xtask.spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(xtask.stdout.take().expect("it prints")).read_line(&mut line).expect("text");
    let url = line.trim().strip_prefix("export QUITTANCE_POSTGRES='").and_then(|rest| rest.strip_suffix('\''));
    (xtask, url.unwrap_or_else(|| panic!("no URL: {line}")).to_owned())
}

fn answer(url: &str, sql: &str) -> Option<String> {
    let output = psql(url, sql).stderr(Stdio::null()).output().expect("psql runs");
    output.status.success().then(|| String::from_utf8(output.stdout).expect("text").trim().to_owned())
}

#[test]
fn nothing_is_left_however_the_task_ends() {
    let ends = [
        ("its input ends", None),
        ("SIGINT", Some(Signal::INT)),
        ("SIGTERM", Some(Signal::TERM)),
        ("SIGKILL", Some(Signal::KILL)),
    ];
    for (how, signal) in ends {
        let (mut xtask, url) = by_hand();
        let directory = PathBuf::from(answer(&url, "SHOW data_directory").expect(how));
        let directory = directory.parent().expect("one above");
        assert!(directory.exists(), "{how}");
        match signal {
            None => drop(xtask.stdin.take()),
            Some(signal) => kill_process(Pid::from_child(&xtask), signal).expect("it runs"),
        }
        let status = xtask.wait().unwrap();
        assert_eq!(status.success(), signal.is_none(), "{how}: {status}");
        until(how, || !directory.exists());
        assert_eq!(answer(&url, "SELECT 1"), None, "{how}");
    }
}
