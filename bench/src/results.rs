//! From measurements to a table with targets, for people, and to JSON, for later.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::environment::Environment;

/// A figure of each round, and what it should be.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub measure: &'static str,
    pub unit: &'static str,
    pub values: Vec<f64>,
    pub median: f64,
    pub target: Option<Target>,
    pub reached: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl Row {
    /// # Panics
    /// Without a value.
    pub fn new(measure: &'static str, unit: &'static str, values: Vec<f64>, target: Option<Target>) -> Self {
        let median = median(&values);
        Self { measure, unit, median, values, target, reached: target.map(|target| target.is_reached(median)) }
    }
}

/// How it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    pub rounds: u32,
    pub events: usize,
    pub body_len_mean: usize,
    pub seconds: u64,
    pub connections: usize,
    pub seed: u64,
    pub log_level: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Results {
    pub environment: Environment,
    pub settings: Settings,
    pub table: Vec<Row>,
}

impl Results {
    pub fn reached_all(&self) -> bool {
        self.table.iter().all(|row| row.reached != Some(false))
    }

    /// Environment, settings and table as Markdown.
    pub fn markdown(&self) -> String {
        let (e, s) = (&self.environment, &self.settings);
        let mut text = format!(
            "# Measured {}\n\n{}\n\n\
             {} rounds of {} distinct signed events ({} bytes on average), {} keep-alive connections, \
             generator on the same CPUs; ceiling and open loop {} s each; seed {}; log level `{}`.\n\n",
            e.at,
            e.line(),
            s.rounds,
            s.events,
            s.body_len_mean,
            s.connections,
            s.seconds,
            s.seed,
            s.log_level,
        );
        text.push_str("| measure | median | lowest – highest | target | |\n|---|---:|---:|---:|---|\n");
        for row in &self.table {
            let (low, high) =
                row.values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
            let target = match row.target {
                None => String::new(),
                Some(Target::AtLeast(bound)) => format!("≥ {}", figure(bound)),
                Some(Target::AtMost(bound)) => format!("≤ {}", figure(bound)),
            };
            let reached = match row.reached {
                None => "",
                Some(true) => "reached",
                Some(false) => "**missed**",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} {} | {} – {} | {target} | {reached} |",
                row.measure,
                figure(row.median),
                row.unit,
                figure(low),
                figure(high)
            );
        }
        text
    }

    /// Writes `<time>.json` and `<time>.md` and returns the latter's path.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        write(directory, &self.environment.stem(), self, &self.markdown())
    }
}

/// Writes `<stem>.json` and `<stem>.md` and returns the latter's path.
pub(crate) fn write(directory: &Path, stem: &str, results: &impl Serialize, markdown: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(format!("{stem}.json")), serde_json::to_string_pretty(results)? + "\n")?;
    let path = directory.join(format!("{stem}.md"));
    fs::write(&path, markdown)?;
    Ok(path)
}

/// # Panics
/// Without a value.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Three digits or so: 0.412, 7.31, 84.5, 38 120.
pub(crate) fn figure(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v < 1.0 => format!("{v:.3}").trim_end_matches('0').to_owned(),
        v if v.fract() == 0.0 || v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_of_the_middle() {
        for (values, expected) in [(vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5)] {
            assert_eq!(median(&values), expected, "{values:?}");
        }
    }

    #[test]
    fn targets_are_held_against_the_median() {
        let table = [
            (Target::AtLeast(0.4), vec![0.39, 0.4, 0.8], true),
            (Target::AtLeast(0.4), vec![0.9, 0.39, 0.38], false),
            (Target::AtMost(10.0), vec![10.0, 9.0, 50.0], true),
            (Target::AtMost(10.0), vec![10.1, 9.0, 50.0], false),
        ];
        for (target, values, reached) in table {
            assert_eq!(Row::new("m", "", values, Some(target)).reached, Some(reached), "{target:?}");
        }
    }

    #[test]
    fn figures_keep_what_matters() {
        let table = [
            (0.0, "0"),
            (0.4, "0.4"),
            (0.4123, "0.412"),
            (7.314, "7.31"),
            (84.49, "84.5"),
            (150.0, "150"),
            (38_120.4, "38120"),
        ];
        for (value, text) in table {
            assert_eq!(figure(value), text);
        }
    }
}
