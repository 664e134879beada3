//! A PostgreSQL of its own: for tests, measurements and faults. It listens on the loopback interface only, lives in
//! a fresh directory, and leaves nothing behind.

mod password;
mod process;
mod programs;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;

use self::process::{Guardian, kill_with_children, signal, until};
use self::programs::Programs;

/// The environment variable that tests read: the URL of a superuser on some database of a server.
pub const URL_VARIABLE: &str = "QUITTANCE_POSTGRES";
/// The superuser, who owns everything.
const SUPERUSER: &str = "quittance";
/// Between asking for a free port and taking it, another program may take it.
const PORT_ATTEMPTS: usize = 5;

/// How a server is to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether what is committed survives the machine's end.
    pub fsync: bool,
    pub max_connections: u32,
    /// Serve with a certificate signed by itself, and refuse who does not ask for TLS.
    pub tls: bool,
    /// More lines of `postgresql.conf`: names and values, as `("shared_buffers", "512MB")`.
    pub more: Vec<(String, String)>,
    /// Its directory is made in this one, which the server's user has to be able to enter.
    pub parent: PathBuf,
}

impl Settings {
    /// For databases that nobody misses.
    pub fn scratch() -> Self {
        Self { fsync: false, max_connections: 300, tls: false, more: Vec::new(), parent: std::env::temp_dir() }
    }

    /// As in production, on a disk: temporary directories are often in memory, `/var/tmp` is not.
    pub fn durable() -> Self {
        Self { fsync: true, parent: PathBuf::from("/var/tmp"), ..Self::scratch() }
    }
}

/// A server, running or stopped. Dropping it ends it and removes its directory.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    settings: Settings,
    password: String,
    port: u16,
    running: Option<Child>,
    guardian: Guardian,
}

impl Server {
    /// Starts a new server; installs PostgreSQL where it is missing and that is allowed.
    ///
    /// # Errors
    /// When PostgreSQL is neither here nor to be had, or does not start: with what it said last.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let mut server = Self::directory_of(Programs::found_or_installed()?, settings, password::random()?)?;
        server.make()?;
        server.start_on_free_port()?;
        Ok(server)
    }

    /// A synchronous standby: from now on whatever `primary` commits is on both, and without the standby it
    /// commits nothing (until `synchronous_standby_names` is [`set`](Self::set) to nothing).
    ///
    /// # Errors
    /// When the copy cannot be made or does not follow.
    pub fn standby_of(primary: &Self) -> anyhow::Result<Self> {
        let (programs, settings) = (primary.programs.clone(), primary.settings.clone());
        let mut standby = Self::directory_of(programs, settings, primary.password.clone())?;
        let source = format!("{} application_name=standby", primary.conninfo("postgres"));
        let mut copy = standby.command("pg_basebackup");
        copy.args(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync", "--pgdata"]);
        succeed(copy.arg(standby.data()).arg("--dbname").arg(source))?;
        standby.configure("synchronous_standby_names", "")?; // Once promoted, it is alone.
        standby.start_on_free_port()?;
        primary.set("synchronous_standby_names", "*")?;
        let follows = "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'";
        until("the standby follows", || Ok(primary.query("postgres", follows)? == "t"))?;
        Ok(standby)
    }

    /// Makes a standby the primary.
    ///
    /// # Errors
    /// When it is none, or cannot.
    pub fn promote(&self) -> anyhow::Result<()> {
        let promoted = self.query("postgres", "SELECT pg_promote()")?;
        ensure!(promoted == "t", "the standby was not promoted: {}", self.last_said());
        Ok(())
    }

    /// What a client connects with, as the superuser.
    pub fn url(&self, database: &str) -> String {
        let Self { password, port, .. } = self;
        let tls = if self.settings.tls {
            format!("verify-full&sslrootcert={}", self.certificate().display())
        } else {
            "disable".to_owned()
        };
        format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}?sslmode={tls}")
    }

    /// The port on 127.0.0.1. It stays the same.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// PostgreSQL's version, as `15.14`.
    pub fn version(&self) -> String {
        self.programs.version()
    }

    /// What `psql` prints: a line a row, columns parted by `|`.
    ///
    /// # Errors
    /// When the server is away or refuses it: with what it says.
    pub fn query(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let mut psql = self.command("psql");
        psql.args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1", "--command", sql]);
        psql.arg("--dbname").arg(self.conninfo(database));
        let output = psql.output().context("cannot run psql")?;
        ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Changes a setting of a running server that needs no restart. It keeps it when it is started again.
    ///
    /// # Errors
    /// When its configuration cannot be written.
    pub fn set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        self.configure(name, value)?;
        self.running.as_ref().map_or(Ok(()), |running| signal(running.id(), Signal::HUP))
    }

    /// Everything that it logged.
    ///
    /// # Errors
    /// When there is no log.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.log_file())?)
    }

    /// Ends it in order: clients are cut off, what is committed is on disk. Its data stay.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.end(|server| {
            signal(server.id(), Signal::INT)?;
            until("PostgreSQL stops", || Ok(server.try_wait()?.is_some()))
        })
    }

    /// Ends it as an outage would: SIGKILL to all of its processes. Its data stay, as they are.
    ///
    /// # Errors
    /// When not all of them end.
    pub fn kill_hard(&mut self) -> anyhow::Result<()> {
        self.end(kill_with_children)
    }

    /// Starts it on the data and the port that it had.
    ///
    /// # Errors
    /// When it runs, or does not start: with what it said last.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        ensure!(self.running.is_none(), "PostgreSQL runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).stdout(log.try_clone()?).stderr(log);
        postgres.process_group(0); // Ctrl-C is for who runs this: it decides when the server ends.
        let child = postgres.spawn().context("cannot start postgres")?;
        self.guardian.told(Some(child.id()))?;
        let child = self.running.insert(child);
        // The last line of this file is its state (`pidfile.h` of PostgreSQL).
        let state = self.guardian.directory().join("data").join("postmaster.pid");
        let mut ended = None;
        until("PostgreSQL starts", || {
            ended = child.try_wait()?;
            let is_of_this = |text: &String| text.lines().next() == Some(&child.id().to_string());
            let state = fs::read_to_string(&state).ok().filter(is_of_this);
            Ok(ended.is_some() || state.is_some_and(|text| text.lines().nth(7).map(str::trim) == Some("ready")))
        })?;
        if let Some(status) = ended {
            self.running = None;
            self.guardian.told(None)?;
            bail!("PostgreSQL did not start ({status}): {}", self.last_said());
        }
        Ok(())
    }

    fn directory_of(programs: Programs, settings: Settings, password: String) -> anyhow::Result<Self> {
        let made = tempfile::Builder::new().prefix("quittance-postgres-").tempdir_in(&settings.parent);
        let directory = made.with_context(|| format!("cannot make a directory in {}", settings.parent.display()))?;
        programs.hand_over(directory.path())?;
        let enters = programs.command("postgres", directory.path()).arg("--version").output();
        enters.with_context(|| format!("PostgreSQL's user cannot get to {}", directory.path().display()))?;
        let guardian = Guardian::over(directory)?;
        Ok(Self { programs, settings, password, port: 0, running: None, guardian })
    }

    /// The files of a server without databases of anybody's.
    fn make(&self) -> anyhow::Result<()> {
        let password_file = self.guardian.directory().join("password");
        self.write(&password_file, &password::verifier(&self.password, &password::random_bytes()?))?;
        let mut initdb = self.command("initdb");
        initdb.args(["--encoding=UTF8", "--no-locale", "--no-sync", "--auth=scram-sha-256", "--username", SUPERUSER]);
        succeed(initdb.arg("--pwfile").arg(&password_file).arg("--pgdata").arg(self.data()))?;
        fs::remove_file(&password_file)?;

        let host = if self.settings.tls { "hostssl" } else { "host" };
        let may_come_in = ["all", "replication"].map(|what| format!("{host} {what} all 127.0.0.1/32 scram-sha-256\n"));
        self.write(&self.data().join("pg_hba.conf"), &may_come_in.concat())?;
        if self.settings.tls {
            self.make_certificate()?;
        }
        let on = |is_on: bool| if is_on { "on" } else { "off" };
        self.configure("listen_addresses", "127.0.0.1")?;
        self.configure("max_connections", &self.settings.max_connections.to_string())?;
        self.configure("fsync", on(self.settings.fsync))?;
        self.configure("full_page_writes", on(self.settings.fsync))?;
        self.configure("ssl", on(self.settings.tls))?;
        self.configure("timezone", "UTC")?;
        self.settings.more.iter().try_for_each(|(name, value)| self.configure(name, value))
    }

    /// A certificate for 127.0.0.1 that signs itself and is nobody's authority, which rustls insists on.
    fn make_certificate(&self) -> anyhow::Result<()> {
        let request = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = server\n\
                       [name]\nCN = 127.0.0.1\n\
                       [server]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1, DNS:localhost\n";
        let request_file = self.guardian.directory().join("request.cnf");
        self.write(&request_file, request)?;
        let key = self.data().join("server.key");
        self.write(&key, "")?; // So that it is the server's user's, and closed to others.
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-config"]).arg(&request_file);
        succeed(openssl.arg("-keyout").arg(&key).arg("-out").arg(self.certificate()))?;
        self.programs.hand_over(&self.certificate())
    }

    fn start_on_free_port(&mut self) -> anyhow::Result<()> {
        let sockets = self.guardian.directory().display().to_string();
        self.configure("unix_socket_directories", &sockets)?;
        let mut attempt = 1;
        loop {
            self.port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            self.configure("port", &self.port.to_string())?;
            match self.start_again() {
                Err(_) if attempt < PORT_ATTEMPTS && self.last_said().contains("Address already in use") => {
                    attempt += 1
                }
                started => return started,
            }
        }
    }

    fn end(&mut self, how: impl FnOnce(&mut Child) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let Some(server) = self.running.as_mut() else { return Ok(()) };
        how(server)?;
        self.running = None;
        self.guardian.told(None)
    }

    /// One of PostgreSQL's programs, which knows the password.
    fn command(&self, program: &str) -> Command {
        let mut command = self.programs.command(program, self.guardian.directory());
        // At home its programs look for certificates, and one that they may not read ends them.
        command.env("PGPASSWORD", &self.password).env("HOME", self.guardian.directory());
        command
    }

    fn conninfo(&self, database: &str) -> String {
        format!("host=127.0.0.1 port={} user={SUPERUSER} dbname={database}", self.port)
    }

    /// Adds a line to its configuration: of several about one setting the last counts.
    fn configure(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().append(true).open(self.data().join("postgresql.conf"))?;
        Ok(writeln!(file, "{name} = '{}'", value.replace('\'', "''"))?)
    }

    /// A file of the server's user, which nobody else reads.
    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let mut file = File::create(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        self.programs.hand_over(path)
    }

    fn data(&self) -> PathBuf {
        self.guardian.directory().join("data")
    }

    fn certificate(&self) -> PathBuf {
        self.data().join("server.crt")
    }

    fn log_file(&self) -> PathBuf {
        self.guardian.directory().join("log")
    }

    /// The end of its log, for an error.
    fn last_said(&self) -> String {
        let text = self.log().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data are removed: it need not write them first.
        let ended = self.end(|server| {
            signal(server.id(), Signal::QUIT)?;
            until("PostgreSQL ends", || Ok(server.try_wait()?.is_some()))
        });
        if let Err(error) = ended {
            crate::shell::say(&format!("{error:#}"));
        }
    }
}

/// Runs a program that says little unless it fails.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}: {}", output.status, said.trim());
    Ok(())
}
