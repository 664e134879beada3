//! `quittance events`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use domain::{AccountId, Mode, Timestamp};
use engine::Clock;
use store::{EventFilter, EventRow, EventState, Store};

use super::keys::account;
use crate::config::Config;
use crate::output::{WrongUsage, count};
use crate::{say, tell};

const LIST_DEFAULT: u32 = 50;
/// How long `replay` helps to apply what is due; a running server goes on with it.
const APPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// Rows read at a time.
const PAGE: u32 = 500;

/// Which events. As in the API.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Whose
    #[arg(long, value_parser = account)]
    account: Option<AccountId>,
    /// Like stripe
    #[arg(long)]
    gateway: Option<String>,
    /// The endpoint's path
    #[arg(long)]
    endpoint: Option<String>,
    /// Like payment_intent.succeeded
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// pending, applied, ignored, waiting, failed or dead
    #[arg(long, value_parser = state)]
    state: Option<EventState>,
    /// A payment's id
    #[arg(long)]
    payment: Option<String>,
    /// Received at or after, like 2026-11-20T16:01:00Z
    #[arg(long, value_parser = instant)]
    since: Option<Timestamp>,
    /// Received before
    #[arg(long, value_parser = instant)]
    until: Option<Timestamp>,
    /// An event's or object's id, or the beginning of a type
    #[arg(short, long)]
    q: Option<String>,
}

/// Which of several events with one id. As in the API.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Which {
    /// live or test
    #[arg(long, value_parser = mode)]
    mode: Option<Mode>,
    /// The connected account's id at the gateway; empty for the account's own
    #[arg(long, value_name = "ID")]
    connected_account: Option<String>,
}

impl Which {
    fn means(&self, event: &EventRow) -> bool {
        self.mode.is_none_or(|mode| mode.as_str() == event.mode)
            && self.connected_account.as_ref().is_none_or(|account| *account == event.connected_account)
    }
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List events, newest first
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many; 0 for all
        #[arg(long, default_value_t = LIST_DEFAULT)]
        limit: u32,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one event with its payload, deliveries, attempts and what it changed
    Show {
        /// The gateway's id of it
        id: String,
        /// Whose, where several have that id
        #[arg(long, value_parser = account)]
        account: Option<AccountId>,
        /// Like stripe
        #[arg(long)]
        gateway: Option<String>,
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Apply events again; what was applied already changes nothing
    Replay {
        /// The gateway's ids of them; without any, say which by a filter
        ids: Vec<String>,
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        which: Which,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
    },
}

fn state(text: &str) -> Result<EventState, String> {
    EventState::parse(text)
        .ok_or_else(|| format!("state is one of {}", EventState::ALL.map(EventState::as_str).join(", ")))
}

fn mode(text: &str) -> Result<Mode, String> {
    Mode::parse(text).ok_or_else(|| format!("{text:?} is neither live nor test"))
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| format!("{text:?} is no instant like 2026-11-20T16:01:00Z"))
}

impl From<&Filter> for EventFilter {
    fn from(filter: &Filter) -> Self {
        let Filter { account, gateway, endpoint, event_type, state, payment, since, until, q } = filter.clone();
        Self { account, gateway, endpoint, event_type, state, payment, since, until, q, event_id: None, before: None }
    }
}

pub async fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    if let Command::Replay { ids, filter, .. } = command
        && ids.is_empty()
        && !EventFilter::from(filter).is_narrow()
    {
        return Err(
            WrongUsage("say which events to replay: their ids, or a filter like --state dead".to_owned()).into()
        );
    }
    let store = super::open_existing(config).await?;
    let done = match command {
        Command::List { filter, limit, json } => list(&store, filter.into(), *limit, *json).await,
        Command::Show { id, account, gateway, which, json } => {
            let filter = EventFilter { account: account.clone(), gateway: gateway.clone(), ..EventFilter::default() };
            show(&store, find(&store, id, filter, which).await?, *json).await
        }
        Command::Replay { ids, filter, which, dry_run } => {
            replay(&store, chosen(&store, ids, filter.into(), which).await?, *dry_run).await
        }
    };
    store.close().await;
    done
}

async fn list(store: &Store, mut filter: EventFilter, limit: u32, json: bool) -> anyhow::Result<ExitCode> {
    let mut left = if limit == 0 { u32::MAX } else { limit };
    while left > 0 {
        let page = store.list_events(&filter, left.min(PAGE)).await?;
        let Some(last) = page.last() else { break };
        filter.before = Some(last.seq);
        left -= u32::try_from(page.len()).unwrap_or(left).min(left);
        for event in &page {
            if json {
                say!("{}", serde_json::to_string(event)?)?;
            } else {
                say!("{}", line(event))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(event: &EventRow) -> String {
    let error = event.error_message.as_deref().map_or(String::new(), |error| format!("  {error}"));
    let (at, state) = (event.created_at.to_string(), event.state.as_str());
    format!("{at:27}  {state:7}  {:42}  {}{error}", event.event_type, event.event_id)
}

/// The one event of that id which the filter lets through and `which` means.
async fn find(store: &Store, id: &str, filter: EventFilter, which: &Which) -> anyhow::Result<EventRow> {
    let filter = EventFilter { event_id: Some(id.to_owned()), ..filter };
    let mut found = store.list_events(&filter, PAGE).await?;
    let namesakes = found.len();
    found.retain(|event| which.means(event));
    if found.len() > 1 {
        bail!(
            "several events have the id {id}: say which with --account, --gateway, --mode or --connected-account; \
             `quittance events list --json -q {id}` shows them"
        );
    }
    let said = if namesakes > 0 { " and is of that mode and connected account" } else { "" };
    found.pop().with_context(|| format!("no event has the id {id}{said}"))
}

async fn show(store: &Store, event: EventRow, json: bool) -> anyhow::Result<ExitCode> {
    let detail = store.show_event(&event.account, event.seq).await?.context("the event is gone")?;
    let payload = detail.body.as_deref().map(String::from_utf8_lossy);
    if json {
        let mut shown = serde_json::to_value(&detail)?;
        let parsed = payload.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        shown["payload"] = parsed.unwrap_or_default();
        say!("{shown}")?;
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}", line(&detail.event))?;
    say!("delivered  {}  {}", detail.event.created_at, detail.event.endpoint)?;
    for delivery in &detail.redeliveries {
        say!("delivered  {}  {}", delivery.received_at, delivery.endpoint)?;
    }
    for attempt in &detail.failed_attempts {
        say!("failed     {}  attempt {}: {}", attempt.at, attempt.number, attempt.error)?;
    }
    for change in &detail.changes {
        let from = change.from.as_deref().unwrap_or("nothing");
        say!("changed    {} {}: {from} → {}", change.subject, change.subject_id, change.to)?;
    }
    say!("{}", payload.unwrap_or("(the body was dropped by age)".into()))?;
    Ok(ExitCode::SUCCESS)
}

/// Those of these ids; without any, all that the filter lets through.
async fn chosen(
    store: &Store,
    ids: &[String],
    mut filter: EventFilter,
    which: &Which,
) -> anyhow::Result<Vec<EventRow>> {
    let mut events = Vec::new();
    for id in ids {
        events.push(find(store, id, filter.clone(), which).await?);
    }
    while ids.is_empty() {
        let page = store.list_events(&filter, PAGE).await?;
        let Some(last) = page.last() else { break };
        filter.before = Some(last.seq);
        events.extend(page.into_iter().filter(|event| which.means(event)));
    }
    Ok(events)
}

async fn replay(store: &Store, events: Vec<EventRow>, dry_run: bool) -> anyhow::Result<ExitCode> {
    if dry_run {
        return preview(store, &events).await;
    }
    let clock = Clock::System;
    let mut replayed = 0;
    for event in &events {
        replayed += usize::from(store.replay_event(&event.account, event.seq, clock.now()).await?);
    }
    // Beside a running server both take from the same store; none is applied twice.
    let started = Instant::now();
    while engine::apply::apply_due(store, &clock).await? > 0 && started.elapsed() < APPLY_TIMEOUT {}
    say!("{} replayed", count(replayed, "event"))?;
    Ok(ExitCode::SUCCESS)
}

async fn preview(store: &Store, events: &[EventRow]) -> anyhow::Result<ExitCode> {
    let mut by_account: std::collections::BTreeMap<&AccountId, Vec<i64>> = std::collections::BTreeMap::new();
    for event in events {
        by_account.entry(&event.account).or_default().push(event.seq);
    }
    let (mut replayable, mut changes) = (0, 0_u64);
    for (account, seqs) in by_account {
        for part in seqs.chunks(PAGE as usize) {
            let claimed = store.events_to_apply(account, part).await?;
            replayable += claimed.len();
            for (event_id, outcome) in engine::apply::preview(store, account, &claimed).await? {
                let domain::Outcome::Applied { changes: of_event, .. } = outcome else { continue };
                for change in of_event {
                    let from = change.from.unwrap_or("nothing");
                    say!("{event_id}: {} {}: {from} → {}", change.subject, change.id, change.to)?;
                    changes += 1;
                }
            }
        }
    }
    tell!("{} would be replayed, {} would change", count(replayable, "event"), count(changes, "thing"));
    Ok(ExitCode::SUCCESS)
}
