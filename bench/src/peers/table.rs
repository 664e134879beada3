//! From figures to a table, for people, and to JSON, for later.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::environment::{Environment, said};
use crate::results::{self, figure, median};

use super::system::TUNED_BY;
use super::{Figures, System};

/// A system and its figures, a round each.
#[derive(Clone, Debug)]
pub struct Row {
    pub system: System,
    pub figures: Vec<Figures>,
}

impl Row {
    pub fn new(system: System) -> Self {
        Self { system, figures: Vec::new() }
    }
}

/// How it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    pub rounds: u32,
    pub events_max: usize,
    pub body_len_mean: usize,
    pub connections: usize,
    pub seconds: u64,
    pub warm_up_seconds: u64,
    pub seed: u64,
    pub log_level: String,
    pub postgres: Vec<(String, String)>,
    pub runtimes: Vec<String>,
    /// Set by hand, as `POOL_MAX=20`.
    pub tuned: Vec<String>,
    /// The share of the processors that other programs took before anything was measured.
    pub busy_before: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Results {
    pub environment: Environment,
    pub settings: Settings,
    pub systems: Vec<Measured>,
}

/// What came of one system: a value a round. Rates are a second.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub name: &'static str,
    #[serde(skip)]
    pub title: &'static str,
    pub applied: Vec<f64>,
    pub acknowledged: Vec<f64>,
    pub p50_millis: Vec<f64>,
    pub p99_millis: Vec<f64>,
    pub cpu_micros_per_event: Vec<f64>,
    pub wrong_payments: Option<Vec<usize>>,
    /// How many times as many events Quittance applied in the same round; empty without it.
    pub ratio: Vec<f64>,
    pub ratio_wanted: Option<f64>,
    pub reached: Option<bool>,
}

/// What was set by hand.
pub fn tuned() -> Vec<String> {
    TUNED_BY.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?))).collect()
}

/// What the peers run on.
pub fn runtimes() -> Vec<String> {
    let node = said(Command::new("node").arg("--version"));
    vec![format!("Node {}", node.trim_start_matches('v')), said(Command::new("python3").arg("--version"))]
}

impl Results {
    /// Every row has a figure for every round.
    pub fn new(environment: Environment, settings: Settings, rows: &[Row]) -> Self {
        let quittance = rows.iter().find(|row| row.system == System::Quittance);
        let systems = rows.iter().map(|row| Measured::new(row, quittance)).collect();
        Self { environment, settings, systems }
    }

    pub fn reached_all(&self) -> bool {
        self.systems.iter().all(|measured| measured.reached != Some(false))
    }

    /// Environment, settings and table as Markdown.
    pub fn markdown(&self) -> String {
        let s = &self.settings;
        let postgres: Vec<String> = s.postgres.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let mut text = format!(
            "# Against what people write, measured {}\n\n{}\n\n\
             PostgreSQL: {}. {}.\n\n\
             {} rounds; each system on a fresh database, {} s of warming up, then {} s of distinct signed events ({} \
             bytes on average) over {} keep-alive connections, each sending its next event when it has its reply; \
             generator and PostgreSQL on the same CPUs; other programs took {:.0} % of them before; seed {}; log level \
             `{}`{}.\n\n",
            self.environment.at,
            self.environment.line(),
            postgres.join(", "),
            s.runtimes.join(", "),
            s.rounds,
            s.warm_up_seconds,
            s.seconds,
            s.body_len_mean,
            s.connections,
            s.busy_before * 100.0,
            s.seed,
            s.log_level,
            s.tuned.iter().map(|set| format!("; {set}")).collect::<String>(),
        );
        text.push_str(
            "| | applied a second | lowest – highest | Quittance ÷ it | wanted | acknowledged a second | p50 ms | p99 ms \
             | µs of processor an event | payments wrong |\n|---|---:|---:|---:|---|---:|---:|---:|---:|---:|\n",
        );
        for measured in &self.systems {
            measured.write(&mut text);
        }
        text
    }

    /// Writes `<time>-peers.json` and `<time>-peers.md` and returns the latter's path.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        results::write(directory, &format!("{}-peers", self.environment.stem()), self, &self.markdown())
    }
}

impl Measured {
    fn new(row: &Row, quittance: Option<&Row>) -> Self {
        let of = |value: fn(&Figures) -> f64| row.figures.iter().map(value).collect::<Vec<f64>>();
        let others = quittance.filter(|_| row.system != System::Quittance).map_or(&[][..], |row| &row.figures);
        let ratio: Vec<f64> = others.iter().zip(&row.figures).map(|(ours, its)| ours.applied / its.applied).collect();
        let ratio_wanted = row.system.ratio_wanted();
        let reached = ratio_wanted.filter(|_| !ratio.is_empty()).map(|wanted| median(&ratio) >= wanted);
        Self {
            name: row.system.name(),
            title: row.system.title(),
            applied: of(|figures| figures.applied),
            acknowledged: of(|figures| figures.acknowledged),
            p50_millis: of(|figures| figures.p50_millis),
            p99_millis: of(|figures| figures.p99_millis),
            cpu_micros_per_event: of(|figures| figures.cpu_micros_per_event),
            wrong_payments: row.figures.iter().map(|figures| figures.wrong_payments).collect(),
            ratio,
            ratio_wanted,
            reached,
        }
    }

    fn write(&self, text: &mut String) {
        let low = self.applied.iter().copied().fold(f64::MAX, f64::min);
        let high = self.applied.iter().copied().fold(f64::MIN, f64::max);
        let ratio = if self.ratio.is_empty() { String::new() } else { format!("{:.1}", median(&self.ratio)) };
        let wanted = match (self.ratio_wanted, self.reached) {
            (Some(wanted), Some(true)) => format!("≥ {}, reached", figure(wanted)),
            (Some(wanted), Some(false)) => format!("≥ {}, **missed**", figure(wanted)),
            (Some(wanted), None) => format!("≥ {}", figure(wanted)),
            (None, _) => String::new(),
        };
        let wrong =
            self.wrong_payments.as_ref().map_or("–".to_owned(), |wrong| wrong.iter().sum::<usize>().to_string());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.0} | {low:.0} – {high:.0} | {ratio} | {wanted} | {:.0} | {} | {} | {:.0} | {wrong} |",
            self.title,
            median(&self.applied),
            median(&self.acknowledged),
            figure(median(&self.p50_millis)),
            figure(median(&self.p99_millis)),
            median(&self.cpu_micros_per_event),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(system: System, applied: &[f64]) -> Row {
        let figures = |applied: &f64| Figures {
            applied: *applied,
            acknowledged: *applied,
            p50_millis: 5.0,
            p99_millis: 50.0,
            cpu_micros_per_event: 400.0,
            wrong_payments: (system != System::Supabase).then_some(1),
        };
        Row { system, figures: applied.iter().map(figures).collect() }
    }

    #[test]
    fn a_ratio_is_of_one_round_and_its_median_counts() {
        let quittance = row(System::Quittance, &[9_000.0, 1_000.0, 10_000.0]);
        let table = [
            (System::Express, vec![1_000.0, 100.0, 1_000.0], Some(true)), // 9, 10, 10
            (System::Express, vec![1_000.0, 100.0, 1_300.0], Some(true)), // 9, 10, 7.7
            (System::Express, vec![1_001.0, 100.0, 1_300.0], Some(false)),
            (System::AxumPlain, vec![2_251.0, 250.0, 2_501.0], Some(false)),
            (System::Django, vec![9_000.0, 9_000.0, 9_000.0], None),
        ];
        for (system, applied, reached) in table {
            let measured = Measured::new(&row(system, &applied), Some(&quittance));
            assert_eq!(measured.reached, reached, "{applied:?}: {:?}", measured.ratio);
        }
        assert!(Measured::new(&quittance, Some(&quittance)).ratio.is_empty());
        assert_eq!(Measured::new(&row(System::Express, &[1.0]), None).reached, None, "nothing to hold it against");
    }

    #[test]
    fn wrong_payments_are_added_up_where_payments_are_kept() {
        let line = |system| {
            let mut text = String::new();
            Measured::new(&row(system, &[100.0, 200.0, 150.0]), None).write(&mut text);
            text
        };
        assert!(line(System::Express).starts_with("| Express + `stripe` + `pg` | 150 | 100 – 200 |"));
        assert!(line(System::Express).ends_with("| 3 |\n"));
        assert!(line(System::Supabase).ends_with("| – |\n"));
    }
}
