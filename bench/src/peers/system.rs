//! What is measured: how each is set up and started, and which events it takes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::process::Server;
use crate::quittance::Quittance;
use crate::requests::SECRET;

use super::about::Kind;

/// What a peer reads how many processes, threads and connections it is to have from. Set
/// by hand to try something else than its own defaults; the results say so.
pub const TUNED_BY: [&str; 3] = ["WEB_CONCURRENCY", "THREADS", "POOL_MAX"];
/// What is meant for other programs.
const FOREIGN_VARIABLES: [&str; 3] = ["PORT", "STRIPE_SECRET_KEY", "NODE_OPTIONS"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Quittance,
    AxumPlain,
    Express,
    Django,
    Supabase,
}

/// What a system keeps, and so what can be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Events, payments, orders with their history, refunds, disputes.
    Records,
    /// Stripe's objects as they are.
    Objects,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The `quittance` binary.
    pub quittance: PathBuf,
    /// The peers as `cargo xtask bench --peers` installs them.
    pub peers: PathBuf,
    /// Quittance's `QUITTANCE_LOG`; the peers log failures only.
    pub log_level: String,
}

impl System {
    pub const ALL: [Self; 5] = [Self::Quittance, Self::AxumPlain, Self::Express, Self::Django, Self::Supabase];

    /// For flags, databases and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quittance => "quittance",
            Self::AxumPlain => "axum-plain",
            Self::Express => "express",
            Self::Django => "django",
            Self::Supabase => "supabase",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Quittance => "Quittance",
            Self::AxumPlain => "axum + sqlx, one transaction an event",
            Self::Express => "Express + `stripe` + `pg`",
            Self::Django => "Django + gunicorn + `stripe`",
            Self::Supabase => "`@supabase/stripe-sync-engine` behind Express",
        }
    }

    /// How many times as many events a second Quittance is to apply.
    pub fn ratio_wanted(self) -> Option<f64> {
        match self {
            Self::Express => Some(9.0),
            Self::AxumPlain => Some(4.0),
            Self::Quittance | Self::Django | Self::Supabase => None,
        }
    }

    pub fn keeps(self) -> Keeps {
        if self == Self::Supabase { Keeps::Objects } else { Keeps::Records }
    }

    /// The engine refuses readers' events, and asks Stripe for the lines of a checkout
    /// session before it has stored one: neither is sent to it.
    pub fn takes(self, kind: Kind) -> bool {
        self != Self::Supabase || !matches!(kind, Kind::Session | Kind::Reader)
    }

    /// Lays its tables into the database and serves, on a free port.
    ///
    /// # Errors
    /// When either fails: with what it said.
    pub fn serve(self, programs: &Programs, database_url: &str, scratch: &Path) -> anyhow::Result<Server> {
        let log = scratch.join(format!("{}.log", self.name()));
        if self == Self::Quittance {
            let quittance = Quittance::new(&programs.quittance, scratch, &programs.log_level).on(database_url);
            quittance.output(&["migrate"])?;
            return Server::start(&mut quittance.command(&["serve", "--listen", "127.0.0.1:0"]), &log);
        }
        let command = |program: &Path, arguments: &[&str], directory: &str| {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(programs.peers.join(directory));
            for name in FOREIGN_VARIABLES {
                command.env_remove(name);
            }
            command.env("DATABASE_URL", database_url).env("STRIPE_WEBHOOK_SECRET", SECRET);
            command.env("NODE_ENV", "production").env("PYTHONDONTWRITEBYTECODE", "1");
            command
        };
        let node = Path::new("node");
        let python = |program: &str| programs.peers.join("venv").join("bin").join(program);
        let (set_up, mut serve) = match self {
            Self::Express | Self::Supabase => {
                (Some(command(node, &["migrate.js"], self.name())), command(node, &["server.js"], self.name()))
            }
            Self::Django => (
                Some(command(&python("python"), &["manage.py", "migrate", "--verbosity", "0"], self.name())),
                command(&python("gunicorn"), &["--config", "gunicorn.conf.py", "shop.wsgi"], self.name()),
            ),
            // It lays its tables when it starts.
            Self::AxumPlain | Self::Quittance => {
                (None, command(&programs.peers.join("axum-plain/release/peer-axum-plain"), &[], ""))
            }
        };
        if let Some(mut set_up) = set_up {
            let name = self.name();
            let output = set_up.output().with_context(|| format!("{name}: its tables cannot be laid"))?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{name}: laying its tables: {}: {}", output.status, said.trim());
        }
        Server::start(&mut serve, &log)
    }
}
