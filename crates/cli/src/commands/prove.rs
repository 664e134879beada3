//! `quittance prove`: recorded events again, in other orders and groups, twice, and with
//! crashes between, on scratch databases.

mod file;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engine::prove::{Difference, Inputs, Options, Proof, RUNS_MAX, Run, Stored, prove, prove_stored};
use serde_json::Value;

use crate::config::Flags;
use crate::output::count;
use crate::{say, tell};

const RUNS_DEFAULT: u32 = 20;
/// Differences that are printed; the count is always whole.
const SHOWN_MAX: usize = 20;
/// Enough of a hash to tell two apart.
const SHORT: usize = 16;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Deliveries or events, as JSON, one a line or in an array; `-` reads standard input
    #[arg(conflicts_with = "from_store")]
    file: Option<PathBuf>,
    /// Over what is stored, and compare that too; this is so where no file is given
    #[arg(long)]
    from_store: bool,
    /// How many runs, beside the one that they are compared with
    #[arg(long, value_name = "N", default_value_t = RUNS_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(RUNS_MAX)))]
    runs: u32,
    /// Of the first run; each further one has the next. The same seed is the same run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    // Short enough to be typed again.
    let options = Options { runs: args.runs, seed: args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000)) };
    let proof = match &args.file {
        Some(path) => {
            let inputs = Inputs { deliveries: file::read(path)?, ..Inputs::default() };
            begin(&inputs, options);
            prove(&inputs, options, progress(args.runs)).await?
        }
        None => {
            let store = super::open_existing(&super::load(flags)?).await?;
            let stored = Stored::read(&store).await;
            store.close().await;
            let stored = stored?;
            begin(&stored.inputs, options);
            prove_stored(&stored, options, progress(args.runs)).await?
        }
    };
    if args.json {
        let mut shown = serde_json::to_value(&proof)?;
        shown["holds"] = proof.holds().into();
        say!("{shown}")?;
    } else {
        print(&proof, args.file.as_deref())?;
    }
    Ok(if proof.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn begin(inputs: &Inputs, options: Options) {
    tell!(
        "{} and {}: {} from seed {} on, each on a scratch database",
        count(inputs.events(), "event"),
        count(inputs.calls.len(), "registration"),
        count(options.runs, "run"),
        options.seed
    );
}

fn progress(runs: u32) -> impl FnMut(&Run, usize) {
    let mut number = 0;
    move |run, wrong| {
        let verdict = if wrong == 0 { "as it has to be".to_owned() } else { format!("{wrong} not as it has to be") };
        match run.seed {
            None => tell!("in recorded order: {}", count(run.deliveries, "delivery")),
            Some(seed) => {
                number += 1;
                tell!("run {number} of {runs}, seed {seed}: {verdict}");
            }
        }
    }
}

fn print(proof: &Proof, file: Option<&Path>) -> anyhow::Result<()> {
    say!(
        "{} in {}, {}",
        count(proof.events, "event"),
        count(proof.bodies, "recorded body"),
        count(proof.registrations, "registration")
    )?;
    for run in &proof.runs {
        say!("{}", line(run))?;
    }
    if let Some(hash) = &proof.stored_hash {
        say!("{:16} {}", "what is stored", &hash[..SHORT.min(hash.len())])?;
    }
    for order in &proof.contested_orders {
        say!("contested, and left out: {order}: which payment of it is which depends on what came first")?;
    }
    if proof.contested_bookings > 0 {
        say!("contested: {}: who has the days depends on who paid first", count(proof.contested_bookings, "booking"))?;
    }
    if proof.events_without_body > 0 {
        say!(
            "left out: {} whose body was dropped by age; what is stored was not compared: `quittance rebuild --check` does",
            count(proof.events_without_body, "event")
        )?;
    }
    for fault in &proof.faults {
        let run = fault.seed.map_or_else(String::new, |seed| format!("seed {seed}: "));
        say!("{run}{}", fault.what)?;
    }
    for difference in proof.differences.iter().take(SHOWN_MAX) {
        say!("{}", described(difference))?;
    }
    if proof.differences.len() > SHOWN_MAX {
        say!("and {} more", count(proof.differences.len() - SHOWN_MAX, "difference"))?;
    }
    if let Some(smallest) = &proof.smallest {
        say!("this is enough to see it:")?;
        say!("  {}", smallest.one_order.join(", then "))?;
        say!("ends otherwise than")?;
        say!("  {}", smallest.another.join(", then "))?;
    }
    if let Some(seed) = proof.differences.iter().find_map(|difference| difference.seed) {
        let source = file.map_or_else(|| "--from-store".to_owned(), |path| path.display().to_string());
        say!("repeat it with: quittance prove {source} --runs 1 --seed {seed}")?;
    }
    Ok(say!("{}", verdict(proof))?)
}

fn line(run: &Run) -> String {
    let name = run.seed.map_or_else(|| "as recorded".to_owned(), |seed| format!("seed {seed}"));
    format!(
        "{name:16} {}  {} in {}, applied in {}, {}",
        &run.hash[..SHORT.min(run.hash.len())],
        count(run.deliveries, "delivery"),
        count(run.accepted_batches, "batch"),
        count(run.applied_batches, "batch"),
        count(run.crashes, "crash")
    )
}

fn verdict(proof: &Proof) -> String {
    if !proof.holds() {
        return format!(
            "not proved: {}, {}",
            count(proof.differences.len(), "difference"),
            count(proof.faults.len(), "fault")
        );
    }
    let hash = proof.runs.first().map_or("", |run| run.hash.as_str());
    let stored = if proof.stored_hash.is_some() { ", and is what is stored" } else { "" };
    format!("proved: every run ends in {hash}{stored}")
}

/// Which columns differ, where the row is there on both sides.
fn described(difference: &Difference) -> String {
    let Difference { seed, subject, expected, found } = difference;
    let place = seed.map_or_else(|| "stored".to_owned(), |seed| format!("seed {seed}"));
    let what = match (expected, found) {
        (Some(Value::Object(expected)), Some(Value::Object(found))) => {
            let columns: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
            let differing = columns.into_iter().filter(|column| expected.get(*column) != found.get(*column));
            let shown = |value: Option<&Value>| value.unwrap_or(&Value::Null).to_string();
            let texts = differing
                .map(|column| format!("{column} is {}, not {}", shown(found.get(column)), shown(expected.get(column))));
            texts.collect::<Vec<_>>().join("; ")
        }
        (Some(_), None) => "is missing".to_owned(),
        (None, _) | (_, Some(_)) => "is one too many".to_owned(),
    };
    format!("{place}: {subject}: {what}")
}
