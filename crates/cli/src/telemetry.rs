//! Logs: lines for people on a terminal, JSON for everything else. On standard
//! error, because standard output is for results.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Lines that may wait for a slow reader of standard error; more are dropped, and
/// counted, because a log must not hold up a payment.
const LINES_MAX: usize = 64 * 1024;

/// A bare word that is no level would be taken for the name of a module, and
/// everything else would fall silent.
fn is_directive(text: &str) -> bool {
    text.contains('=') || text.parse::<LevelFilter>().is_ok()
}

/// Starts logging at `levels` (`info,engine=debug`). What is still waiting is
/// written when the guard is dropped.
pub fn start(levels: &str) -> anyhow::Result<WorkerGuard> {
    let filter = EnvFilter::try_new(levels).ok().filter(|_| levels.split(',').all(is_directive));
    let filter =
        filter.with_context(|| format!("QUITTANCE_LOG={levels:?} is no list of levels like info,engine=debug"))?;
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .finish(std::io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if std::io::stderr().is_terminal() {
        lines.with_target(false).init();
    } else {
        lines.with_ansi(false).json().flatten_event(true).with_current_span(false).init();
    }
    Ok(guard)
}

#[cfg(test)]
mod tests {
    use super::is_directive;

    #[test]
    fn a_word_that_is_no_level_is_no_directive() {
        for (text, is) in [("info", true), ("WARN", true), ("engine=debug", true), ("verbose", false)] {
            assert_eq!(is_directive(text), is, "{text:?}");
        }
    }
}
