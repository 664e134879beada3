//! What is in the database after a fault, against the ledger: lost, doubled, wrong.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use domain::{DisputeStatus, PaymentStatus};
use testdb::{Database, wait};

use super::traffic::Ledger;
use crate::check;
use crate::history::{self, Transition};
use crate::load::{self, Amount, Pace};
use crate::quittance::{self, Quittance};
use crate::requests::Requests;

const APPLY_MAX: Duration = Duration::from_secs(120);
/// Of what was acknowledged, so many are sent once more.
const AGAIN_MAX: usize = 200;
/// How many offenders are named.
const NAMED_MAX: usize = 3;

/// Where the evidence is.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub requests: &'a Requests,
    pub ledger: &'a Ledger,
    /// Of any server that serves now.
    pub address: SocketAddr,
    pub quittance: &'a Quittance,
    /// Of the database, where several were named: the one that can be written to.
    pub database_url: &'a str,
}

/// What came of looking.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub applied: usize,
    /// Acknowledged events that are not there.
    pub lost: usize,
    /// Events stored twice, transitions told twice, notifications made twice.
    pub doubled: usize,
    pub notifications: usize,
    /// What is wrong, those two among it.
    pub wrong: Vec<String>,
}

/// Sends some of what was acknowledged once more, waits until all is applied, and looks at every event, payment,
/// transition and notification.
///
/// # Errors
/// When the server or the database cannot be asked.
pub fn look(scene: &Scene<'_>) -> anyhow::Result<Found> {
    let mut found = Found::default();
    again(scene, &mut found)?;
    quittance::wait_until_applied(scene.address, APPLY_MAX)?;
    let key = scene.quittance.read_key()?;
    events(scene, &key, &mut found)?;
    let payments = quittance::payments(scene.address, &key)?;
    let wrong = check::wrong_payments(scene.requests.lives(), &payments);
    found.say("payments are not what their events say", &wrong);
    transitions(scene, &mut found)?;
    for proof in [&["rebuild", "--check"], &["audit", "verify"]] {
        if let Err(error) = scene.quittance.output(proof) {
            found.wrong.push(format!("{error:#}"));
        }
    }
    Ok(found)
}

impl Found {
    fn say<T: std::fmt::Debug>(&mut self, what: &str, offenders: &[T]) {
        if !offenders.is_empty() {
            let named = &offenders[..offenders.len().min(NAMED_MAX)];
            self.wrong.push(format!("{} {what}: {named:?}", offenders.len()));
        }
    }
}

/// Gateways deliver more than once, also what they heard acknowledged.
fn again(scene: &Scene<'_>, found: &mut Found) -> anyhow::Result<()> {
    let acknowledged = (0_u32..).zip(&scene.ledger.acknowledged).filter(|(_, acknowledged)| **acknowledged);
    let indices: Vec<u32> = acknowledged.map(|(index, _)| index).take(AGAIN_MAX).collect();
    let len = indices.len();
    let plan = load::Plan { address: scene.address, connections: 4, pace: Pace::Closed, amount: Amount::Each(indices) };
    let report = load::run(&plan, scene.requests, &mut |_| ())?;
    if report.acknowledged.len() != len {
        found.wrong.push(format!("of {len} duplicates not all were acknowledged: {:?}", report.by_status));
    }
    Ok(())
}

fn events(scene: &Scene<'_>, key: &str, found: &mut Found) -> anyhow::Result<()> {
    let events = quittance::events(scene.address, key)?;
    let mut times: HashMap<&str, usize> = HashMap::with_capacity(events.len());
    events.iter().for_each(|event| *times.entry(event.event_id.as_str()).or_default() += 1);
    let acknowledged = (0_u32..).zip(&scene.ledger.acknowledged).filter(|(_, acknowledged)| **acknowledged);
    let ids = acknowledged.map(|(index, _)| scene.requests.event_id(index));
    let lost: Vec<&str> = ids.filter(|id| !times.contains_key(id)).collect();
    let twice: Vec<&str> = times.iter().filter(|(_, times)| **times > 1).map(|(id, _)| *id).collect();
    let unsettled: Vec<_> = events.iter().filter(|event| !check::is_settled(event)).collect();
    found.applied = events.len() - unsettled.len();
    found.lost += lost.len();
    found.doubled += twice.len();
    found.say("acknowledged events are LOST", &lost);
    found.say("events are stored more than once", &twice);
    found.say("events are not applied", &unsettled);
    let sent = scene.requests.len();
    if times.len() != sent {
        found.wrong.push(format!("{} events are stored, {sent} were sent", times.len()));
    }
    if !scene.ledger.other.is_empty() {
        found.wrong.push(format!("answers neither 2xx nor 503: {:?}", scene.ledger.other));
    }
    Ok(())
}

/// A row of history, with the notification that it is.
struct Told {
    transition: Transition,
    notice: Option<String>,
}

fn transitions(scene: &Scene<'_>, found: &mut Found) -> anyhow::Result<()> {
    let told = history_of(scene.database_url)?;
    let mut times: HashMap<_, usize> = HashMap::new();
    let mut paid: HashMap<(&str, &str), usize> = HashMap::new();
    for Told { transition: t, notice } in &told {
        *times.entry((&t.subject, &t.subject_id, &t.event_id, &t.to)).or_default() += 1;
        if let Some(notice) = notice {
            found.notifications += 1;
            *paid.entry((notice, &t.subject_id)).or_default() += 1;
        }
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    found.doubled += twice.len();
    found.say("transitions are told twice", &twice);
    if let Err(error) = history::told_once(told.iter().map(|told| &told.transition)) {
        found.wrong.push(format!("history stutters: {error:#}"));
    }

    let paid_twice: Vec<_> = paid.iter().filter(|((notice, _), n)| notice.ends_with(".paid") && **n > 1).collect();
    found.doubled += paid_twice.len();
    found.say("notifications that something is paid are there twice", &paid_twice);
    let silent = told.iter().filter(|told| told.notice.is_none() && is_told_of(&told.transition));
    let silent: Vec<&Transition> = silent.map(|told| &told.transition).collect();
    found.say("transitions have no notification", &silent);
    missing_notifications(scene, &paid, found)
}

/// Of each payment whose whole life was sent, by what its life came to: not by what the server says of it.
fn missing_notifications(
    scene: &Scene<'_>,
    notices: &HashMap<(&str, &str), usize>,
    found: &mut Found,
) -> anyhow::Result<()> {
    let ids = rows(scene.database_url, "SELECT gateway_transaction_id, id FROM payment")?;
    let ids: BTreeMap<&str, &str> = ids.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let mut missing = Vec::new();
    for life in scene.requests.lives() {
        let Some(payment) = ids.get(life.payment_intent.as_str()) else { continue }; // Said already.
        let was_paid =
            matches!(life.expected, PaymentStatus::Paid | PaymentStatus::Refunded | PaymentStatus::PartiallyRefunded);
        let was_refunded = life.expected == PaymentStatus::Refunded;
        let was_disputed = matches!(life.expected_dispute, DisputeStatus::Won | DisputeStatus::Lost);
        let expected = [
            (was_paid, "payment.paid", *payment),
            (was_paid, "order.paid", life.order_id.as_str()),
            (was_refunded, "payment.refunded", payment),
            (was_disputed, "dispute.closed", payment),
        ];
        let expected = expected.into_iter().filter(|(is_expected, ..)| *is_expected);
        missing.extend(expected.map(|(_, notice, id)| (notice, id)).filter(|key| !notices.contains_key(key)));
    }
    found.say("notifications are LOST", &missing);
    Ok(())
}

/// Whether the merchant's application is told of every such transition.
fn is_told_of(transition: &Transition) -> bool {
    let told = ["authorized", "failed", "canceled", "refunded", "partially_refunded"];
    matches!(transition.subject.as_str(), "payment" | "order") && told.contains(&transition.to.as_str())
}

fn history_of(database_url: &str) -> anyhow::Result<Vec<Told>> {
    let sql = "SELECT h.subject, h.subject_id, h.from_status, h.to_status, h.event_seq, h.notice
               FROM history h ORDER BY h.seq";
    let known = |value: &String| (value != "NULL").then(|| value.clone());
    let told = |(number, row): (usize, Vec<String>)| {
        let [subject, subject_id, from, to, event, notice] = &row[..] else { return None };
        // Several may have no event in common.
        let event_id = if event == "0" { format!("none, row {number}") } else { event.clone() };
        let transition = Transition {
            subject: subject.clone(),
            subject_id: subject_id.clone(),
            from: known(from),
            to: to.clone(),
            event_id: Some(event_id),
        };
        Some(Told { transition, notice: known(notice) })
    };
    let rows = rows(database_url, sql)?;
    rows.into_iter().enumerate().map(|row| told(row).context("six columns")).collect()
}

/// Read from outside, with a connection of its own.
pub(super) fn rows(database_url: &str, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let database = Database::at(database_url);
    Ok(wait(database.try_table(sql)).map_err(|error| anyhow::anyhow!("{sql}: {error}"))?.rows)
}
