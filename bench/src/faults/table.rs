//! From rows to a table, for people, and to JSON, for later.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Plan;
use super::look::Found;
use super::traffic::Ledger;
use crate::environment::Environment;
use crate::results;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Held,
    /// With what is wrong.
    Broken(Vec<String>),
    /// With the reason.
    LeftOut(String),
}

/// One fault on one database.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub fault: &'static str,
    pub database: String,
    /// What was done, and what was seen while it was.
    pub done: Vec<String>,
    /// Requests, those that were sent again among them.
    pub sent: u64,
    /// Distinct events from here on, but for answers 503 and requests without an answer.
    pub acknowledged: usize,
    pub refused: u64,
    pub unanswered: u64,
    pub retried: usize,
    pub applied: usize,
    pub lost: usize,
    pub doubled: usize,
    pub notifications: usize,
    pub verdict: Verdict,
}

impl Row {
    pub(super) fn new(fault: &'static str, database: &str, done: Vec<String>, ledger: &Ledger, found: Found) -> Self {
        Self {
            fault,
            database: database.to_owned(),
            done,
            sent: ledger.sent(),
            acknowledged: ledger.acknowledged_len(),
            refused: ledger.refused,
            unanswered: ledger.unanswered,
            retried: ledger.retried(),
            applied: found.applied,
            lost: found.lost,
            doubled: found.doubled,
            notifications: found.notifications,
            verdict: if found.wrong.is_empty() { Verdict::Held } else { Verdict::Broken(found.wrong) },
        }
    }

    /// One that could not be played to its end.
    pub(super) fn not_done(fault: &'static str, error: &str) -> Self {
        let broken = Verdict::Broken(vec![error.to_owned()]);
        Self { verdict: broken, ..Self::new(fault, "", Vec::new(), &Ledger::default(), Found::default()) }
    }

    pub(super) fn left_out(fault: &'static str, database: &str, why: String) -> Self {
        let done = Vec::new();
        let left_out = Verdict::LeftOut(why);
        Self { verdict: left_out, ..Self::new(fault, database, done, &Ledger::default(), Found::default()) }
    }

    pub(super) fn with_remark(mut self, remark: &str) -> Self {
        self.done.push(remark.to_owned());
        self
    }

    fn verdict_text(&self) -> String {
        match &self.verdict {
            Verdict::Held => "held".to_owned(),
            Verdict::Broken(wrong) => format!("**broken**: {}", wrong.join("; ")),
            Verdict::LeftOut(why) => format!("left out: {why}"),
        }
    }

    fn figures(&self) -> [String; 9] {
        let Self { sent, refused, unanswered, .. } = self;
        let distinct = [self.acknowledged, self.retried, self.applied, self.lost, self.doubled, self.notifications];
        let [acknowledged, retried, applied, lost, doubled, notifications] = distinct.map(|figure| figure.to_string());
        let [sent, refused, unanswered] = [sent, refused, unanswered].map(u64::to_string);
        [sent, acknowledged, refused, unanswered, retried, applied, lost, doubled, notifications]
    }
}

/// What [`Row::figures`] are.
const FIGURES: [&str; 9] =
    ["sent", "acknowledged", "refused (503)", "unanswered", "retried", "applied", "lost", "doubled", "notifications"];

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.fault, self.database, self.verdict_text())?;
        if !matches!(self.verdict, Verdict::LeftOut(_)) {
            let figures = self.figures();
            let figures: Vec<String> =
                FIGURES.iter().zip(&figures).map(|(name, figure)| format!("{figure} {name}")).collect();
            write!(f, "\n  {}\n  {}", figures.join(", "), self.done.join("; "))?;
        }
        Ok(())
    }
}

/// How it was run.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    pub events: f64,
    pub per_second: f64,
    pub connections: usize,
    pub seed: u64,
    /// Whether PostgreSQL forced what it committed to the disk.
    pub fsync: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Results {
    pub environment: Environment,
    pub settings: Settings,
    pub faults: Vec<Row>,
}

impl Results {
    pub(super) fn new(environment: Environment, plan: &Plan, faults: Vec<Row>) -> Self {
        let settings = Settings {
            events: (plan.duration.as_secs_f64() * plan.per_second).ceil(),
            per_second: plan.per_second,
            connections: plan.connections,
            seed: plan.seed,
            fsync: plan.postgres.fsync,
        };
        Self { environment, settings, faults }
    }

    /// Whether nothing is broken; what was left out is not.
    pub fn held(&self) -> bool {
        self.faults.iter().all(|row| !matches!(row.verdict, Verdict::Broken(_)))
    }

    pub fn markdown(&self) -> String {
        let Settings { events, per_second, connections, seed, fsync } = &self.settings;
        let fsync = if *fsync { "on" } else { "off" };
        let mut text = format!(
            "# Faults, {}\n\n{}\n\n{events} distinct signed events for each, {per_second} a second, {connections} \
             connections to each server; seed {seed}; PostgreSQL with fsync {fsync}. Sent are requests; what was \
             refused, or never answered, was sent again until it was acknowledged.\n\n",
            self.environment.at,
            self.environment.line(),
        );
        let _ = writeln!(text, "| fault | database | what was done | {} | verdict |", FIGURES.join(" | "));
        let _ = writeln!(text, "|---|---|---|{}---|", "---:|".repeat(FIGURES.len()));
        for row in &self.faults {
            let done = row.done.join("; ").replace('|', "\\|");
            let (figures, verdict) = (row.figures().join(" | "), row.verdict_text().replace('|', "\\|"));
            let _ = writeln!(text, "| {} | {} | {done} | {figures} | {verdict} |", row.fault, row.database);
        }
        text
    }

    /// Writes `<time>-faults.json` and `<time>-faults.md` and returns the latter's path.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        results::write(directory, &format!("{}-faults", self.environment.stem()), self, &self.markdown())
    }
}
