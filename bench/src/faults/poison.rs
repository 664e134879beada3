//! Rows that somebody broke by hand, so that an event in every batch cannot be applied: the others are, and these are
//! seen, and applied when the rows are mended.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use testdb::{Database, wait};

use super::look::{Scene, look, rows};
use super::{DATABASE, Row, Stage, traffic};
use crate::peers::about;
use crate::process::pause;
use crate::{check, quittance};

/// Of the events, so many are poisoned, or what there is.
const SHARE: f64 = 0.03;
/// The others may take so long to be applied beside the poisoned ones.
const APPLY_MAX: Duration = Duration::from_secs(60);

pub(super) fn on_sqlite(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let url = format!("sqlite:{}", stage.directory.join("poison.db").display());
    run(stage, "SQLite", &url)
}

pub(super) fn on_postgres(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let postgres = stage.postgres()?;
    run(stage, &format!("PostgreSQL {}", postgres.version()), &postgres.url(DATABASE))
}

fn run(stage: &Stage<'_>, database: &str, database_url: &str) -> anyhow::Result<Row> {
    let quittance = stage.quittance("poison", database_url)?;
    let mut server = quittance.serve()?;
    let key = quittance.read_key()?;
    let addresses = [server.address];
    let requests = &stage.requests;

    let all: Vec<u32> = (0..u32::try_from(requests.len())?).collect();
    let (first, rest) = all.split_at(all.len() / 2);
    let ((), mut ledger) = traffic::send(requests, first, stage.rate(1), &addresses, |_| Ok(()))?;
    quittance::wait_until_applied(server.address, APPLY_MAX)?;

    let poison = Poison::of(stage, rest, database_url)?;
    poison.break_rows(database_url)?;
    let ((), of_rest) = traffic::send(requests, &poison.spread(rest), stage.rate(1), &addresses, |_| Ok(()))?;
    ledger.add(&of_rest);

    let started = Instant::now();
    let failed = loop {
        let events = quittance::events(server.address, &key)?;
        let is_poisoned = |event: &&quittance::Event| poison.event_ids.contains(&event.event_id);
        let settled = events.iter().filter(|event| check::is_settled(event)).count();
        let left = events.iter().filter(|event| !is_poisoned(event) && !check::is_settled(event)).count();
        let failed = events.iter().filter(|event| matches!(event.state.as_str(), "failed" | "dead")).count();
        if left == 0 && settled + failed == events.len() {
            break failed;
        }
        if started.elapsed() > APPLY_MAX {
            bail!("{left} events that are in order are not applied after {APPLY_MAX:?}; {failed} are failed");
        }
        pause();
    };
    let beside = started.elapsed();
    ensure!(failed > 0, "no event failed: nothing was poisoned");
    let shown = quittance.output(&["events", "list", "--state", "failed", "--limit", "0"])?;
    let mut wrong = Vec::new();
    if shown.lines().count() != failed || !shown.lines().all(|line| line.contains("corrupt")) {
        wrong.push(format!("`quittance events list --state failed` does not show {failed} with their errors: {shown}"));
    }

    poison.mend_rows(database_url)?;
    let replayed = quittance.output(&["events", "replay", "--state", "failed"])?;
    let done = vec![format!(
        "{} payment rows broken, {failed} events failed beside {} others, which were applied {:.1} s after the load; \
         rows mended, {}",
        poison.rows.len(),
        rest.len() - failed,
        beside.as_secs_f64(),
        replayed.trim()
    )];
    if !server.runs() {
        wrong.push("the server ended".to_owned());
    }
    let scene = Scene { requests, ledger: &ledger, address: server.address, quittance: &quittance, database_url };
    let mut found = look(&scene)?;
    found.wrong.extend(wrong);
    Ok(Row::new(stage.fault.name(), database, done, &ledger, found))
}

struct Poison {
    /// Payments' ids and what stands in their rows.
    rows: Vec<(String, String)>,
    /// By index: of these payments, among those still to come.
    events: BTreeSet<u32>,
    event_ids: HashSet<String>,
}

impl Poison {
    /// Payments that are known and of which more is to come.
    fn of(stage: &Stage<'_>, rest: &[u32], database_url: &str) -> anyhow::Result<Self> {
        let about = about::read(&stage.requests)?;
        let mut to_come: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for index in rest {
            to_come.entry(about[*index as usize].intent.as_str()).or_default().push(*index);
        }
        let known = rows(database_url, "SELECT gateway_transaction_id, id, facts FROM payment ORDER BY id")?;
        let wanted = (rest.len() as f64 * SHARE).ceil() as usize;
        let mut poison = Self { rows: Vec::new(), events: BTreeSet::new(), event_ids: HashSet::new() };
        for row in &known {
            let [intent, id, facts] = &row[..] else { bail!("three columns: {row:?}") };
            let Some(events) = to_come.get(intent.as_str()).filter(|_| poison.events.len() < wanted) else { continue };
            poison.rows.push((id.clone(), facts.clone()));
            poison.events.extend(events);
            poison.event_ids.extend(events.iter().map(|index| stage.requests.event_id(*index).to_owned()));
        }
        ensure!(!poison.rows.is_empty(), "of no payment that is known more is to come");
        Ok(poison)
    }

    /// The same events with the poisoned ones evenly among the others.
    fn spread(&self, rest: &[u32]) -> Vec<u32> {
        let others = rest.iter().filter(|index| !self.events.contains(index));
        let every = rest.len() / self.events.len().max(1);
        let mut poisoned = self.events.iter();
        let mut spread = Vec::with_capacity(rest.len());
        for (number, index) in others.enumerate() {
            if number % every.max(1) == 0 {
                spread.extend(poisoned.next());
            }
            spread.push(*index);
        }
        spread.extend(poisoned);
        spread
    }

    fn break_rows(&self, database_url: &str) -> anyhow::Result<()> {
        self.rows.iter().try_for_each(|(id, _)| set_facts(database_url, id, "{broken"))
    }

    fn mend_rows(&self, database_url: &str) -> anyhow::Result<()> {
        self.rows.iter().try_for_each(|(id, facts)| set_facts(database_url, id, facts))
    }
}

fn set_facts(database_url: &str, id: &str, facts: &str) -> anyhow::Result<()> {
    let quoted = facts.replace('\'', "''");
    let sql = format!("UPDATE payment SET facts = '{quoted}' WHERE id = '{id}'");
    let changed = wait(Database::at(database_url).try_execute(&sql)).map_err(anyhow::Error::msg);
    ensure!(changed.context("a row is broken or mended by hand")? == 1, "there is no payment {id}");
    Ok(())
}
