//! `bench`: the ceiling server, the load generator and the runs of `cargo xtask
//! bench` and `cargo xtask soak`, which build this program and call it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use bench::faults::{self, Fault};
use bench::load::{self, Amount, Pace};
use bench::peers::{self, System};
use bench::requests::{Requests, SECRET};
use bench::{ceiling, compare, crash, now_seconds, stored};
use clap::{Args, Parser, Subcommand};

/// The allocator that `quittance` uses, so that the ceiling is measured with it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures and crash-tests Quittance.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Serve the ceiling: HTTP and signature check, no database.
    Ceiling {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Load a server that runs already, and print what came of it.
    Load(Load),
    /// Measure the ceiling and Quittance in turn, and write the results.
    Compare(Compare),
    /// Store events, and see what becomes of the rate and of lists as the tables grow.
    Stored(Stored),
    /// Measure Quittance and what other people write, in turn, on one PostgreSQL.
    Peers(Peers),
    /// Kill Quittance under load, over and over, and look for what was lost.
    Soak(Soak),
    /// Have go wrong under load what goes wrong in production, and look for what was lost.
    Faults(Faults),
}

#[derive(Args)]
struct Load {
    /// Where the server listens.
    #[arg(long)]
    to: SocketAddr,
    /// What its Stripe endpoint checks signatures with.
    #[arg(long, default_value = SECRET)]
    secret: String,
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// Requests a second; without it, as fast as replies come.
    #[arg(long)]
    rate: Option<f64>,
    /// Send all events over and over for so long; without it, each is sent once.
    #[arg(long)]
    seconds: Option<u64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct Compare {
    /// The `quittance` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Where scratch databases are made: on the disk that counts.
    #[arg(long)]
    scratch: PathBuf,
    /// Where the results are written.
    #[arg(long)]
    results: PathBuf,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// Of the ceiling and of the open loop.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server's `QUITTANCE_LOG`.
    #[arg(long, default_value = "warn")]
    log_level: String,
    /// A superuser's URL of a PostgreSQL to measure on too.
    #[arg(long)]
    postgres: Option<String>,
}

#[derive(Args)]
struct Stored {
    /// The `quittance` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Where scratch databases are made: on the disk that counts.
    #[arg(long)]
    scratch: PathBuf,
    /// Where the results are written.
    #[arg(long)]
    results: PathBuf,
    /// Until so many are stored.
    #[arg(long)]
    events: usize,
    #[arg(long, default_value_t = 128)]
    connections: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A superuser's URL of a PostgreSQL to do it on, instead of SQLite.
    #[arg(long)]
    postgres: Option<String>,
}

#[derive(Args)]
struct Peers {
    /// The `quittance` binary.
    #[arg(long)]
    binary: PathBuf,
    /// The peers, installed.
    #[arg(long)]
    peers: PathBuf,
    /// A superuser's URL of the PostgreSQL that all are measured on.
    #[arg(long)]
    postgres: String,
    /// Where logs are written.
    #[arg(long)]
    scratch: PathBuf,
    /// Where the results are written.
    #[arg(long)]
    results: PathBuf,
    /// Measure only these, by name.
    #[arg(long, value_delimiter = ',', value_parser = system)]
    only: Vec<System>,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// At most, each round.
    #[arg(long, default_value_t = 120_000)]
    events: usize,
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// Of sending events to each system, each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Before that.
    #[arg(long, default_value_t = 2)]
    warm_up_seconds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Quittance's `QUITTANCE_LOG`.
    #[arg(long, default_value = "warn")]
    log_level: String,
}

fn system(name: &str) -> Result<System, String> {
    let names = System::ALL.map(System::name);
    System::ALL
        .into_iter()
        .find(|system| system.name() == name)
        .ok_or_else(|| format!("there are {}", names.join(", ")))
}

#[derive(Args)]
struct Soak {
    /// The `quittance` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Where scratch databases are made.
    #[arg(long)]
    scratch: PathBuf,
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Events a round.
    #[arg(long, default_value_t = 4_000)]
    events: usize,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long)]
    seed: Option<u64>,
    /// On the server in `QUITTANCE_POSTGRES`, a database a round, instead of on SQLite.
    #[arg(long)]
    postgres: bool,
}

#[derive(Args)]
struct Faults {
    /// The `quittance` binary.
    #[arg(long)]
    binary: PathBuf,
    /// Where SQLite files and logs are put.
    #[arg(long)]
    scratch: PathBuf,
    /// Where the results are written.
    #[arg(long)]
    results: PathBuf,
    /// Only these, by name.
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    only: Vec<Fault>,
    /// How long the load of each would take without a fault.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Events a second, to all servers together.
    #[arg(long, default_value_t = 1_500.0)]
    rate: f64,
    /// To each server.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long)]
    seed: Option<u64>,
}

fn fault(name: &str) -> Result<Fault, String> {
    let names = Fault::ALL.map(Fault::name);
    Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| format!("there are {}", names.join(", ")))
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: What) -> anyhow::Result<()> {
    match command {
        What::Ceiling { listen } => {
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(ceiling::serve(listen))
        }
        What::Load(arguments) => load(&arguments),
        What::Compare(arguments) => compare(arguments),
        What::Stored(arguments) => stored(arguments),
        What::Peers(arguments) => peers(arguments),
        What::Soak(arguments) => soak(arguments),
        What::Faults(arguments) => faults(arguments),
    }
}

fn load(arguments: &Load) -> anyhow::Result<()> {
    let mut requests = Requests::render(arguments.events, arguments.seed, now_seconds());
    requests.sign(&arguments.secret, now_seconds());
    let plan = load::Plan {
        address: arguments.to,
        connections: arguments.connections,
        pace: arguments.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
        amount: match arguments.seconds {
            Some(seconds) => Amount::For(Duration::from_secs(seconds)),
            None => Amount::Each((0..u32::try_from(arguments.events)?).collect()),
        },
    };
    let report = load::run(&plan, &requests, &mut |_| ())?;
    println!("{}", compare::line(&report));
    ensure!(report.connections_lost == 0, "{} connections were lost", report.connections_lost);
    Ok(())
}

fn stored(arguments: Stored) -> anyhow::Result<()> {
    let plan = stored::Plan {
        binary: arguments.binary.canonicalize()?,
        scratch: std::path::absolute(arguments.scratch)?,
        events: arguments.events,
        connections: arguments.connections,
        seed: arguments.seed,
        postgres: arguments.postgres,
    };
    let stored = stored::run(&plan, &mut |line| eprintln!("{line}"))?;
    let path = stored.write(&arguments.results)?;
    println!("{}", stored.markdown());
    eprintln!("written to {}", path.display());
    Ok(())
}

fn compare(arguments: Compare) -> anyhow::Result<()> {
    let plan = compare::Plan {
        binary: arguments.binary.canonicalize()?,
        bench: std::env::current_exe()?,
        scratch: std::path::absolute(arguments.scratch)?,
        rounds: arguments.rounds,
        events: arguments.events,
        connections: arguments.connections,
        duration: Duration::from_secs(arguments.seconds),
        seed: arguments.seed,
        log_level: arguments.log_level,
        postgres: arguments.postgres,
    };
    let results = compare::run(&plan, &mut |line| eprintln!("{line}"))?;
    let path = results.write(&arguments.results)?;
    println!("{}", results.markdown());
    eprintln!("written to {}", path.display());
    if !results.reached_all() {
        eprintln!("a target was missed");
    }
    Ok(())
}

fn peers(arguments: Peers) -> anyhow::Result<()> {
    let plan = peers::Plan {
        programs: peers::Programs {
            quittance: arguments.binary.canonicalize()?,
            peers: arguments.peers.canonicalize()?,
            log_level: arguments.log_level,
        },
        postgres_url: arguments.postgres,
        scratch: std::path::absolute(arguments.scratch)?,
        systems: if arguments.only.is_empty() { System::ALL.to_vec() } else { arguments.only },
        rounds: arguments.rounds,
        events: arguments.events,
        connections: arguments.connections,
        duration: Duration::from_secs(arguments.seconds),
        warm_up: Duration::from_secs(arguments.warm_up_seconds),
        seed: arguments.seed,
    };
    let results = peers::run(&plan, &mut |line| eprintln!("{line}"))?;
    let path = results.write(&arguments.results)?;
    println!("{}", results.markdown());
    eprintln!("written to {}", path.display());
    if !results.reached_all() {
        eprintln!("a target was missed");
    }
    Ok(())
}

fn soak(arguments: Soak) -> anyhow::Result<()> {
    let is_there = std::env::var_os(xtask::postgres::URL_VARIABLE).is_some_and(|url| !url.is_empty());
    ensure!(!arguments.postgres || is_there, "set {} as `cargo xtask postgres` says", xtask::postgres::URL_VARIABLE);
    let plan = crash::Plan {
        binary: arguments.binary.canonicalize()?,
        postgres: arguments.postgres,
        scratch: std::path::absolute(arguments.scratch)?,
        rounds: arguments.rounds,
        events: arguments.events,
        connections: arguments.connections,
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..)),
    };
    println!("soak: {} rounds of {} events, seed {}", plan.rounds, plan.events, plan.seed);
    let (mut kills, mut events) = (0, 0);
    crash::run(&plan, |round| {
        kills += round.kills.len();
        events += round.events;
        println!("{round}");
    })?;
    println!("soak: {kills} kills, {events} events, nothing lost, nothing twice");
    Ok(())
}

fn faults(arguments: Faults) -> anyhow::Result<()> {
    let plan = faults::Plan {
        binary: arguments.binary.canonicalize()?,
        scratch: std::path::absolute(arguments.scratch)?,
        faults: if arguments.only.is_empty() { Fault::ALL.to_vec() } else { arguments.only },
        duration: Duration::from_secs(arguments.seconds),
        per_second: arguments.rate,
        connections: arguments.connections,
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..)),
        postgres: xtask::postgres::Settings::durable(),
    };
    let results = faults::run(&plan, &mut |line| eprintln!("{line}"))?;
    let path = results.write(&arguments.results)?;
    println!("{}", results.markdown());
    eprintln!("written to {}", path.display());
    ensure!(results.held(), "not everything was withstood");
    Ok(())
}
