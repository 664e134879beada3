//! Logs: lines for people on a terminal, JSON for everything else. On standard
//! error, because standard output is for results; and to a logging service as well,
//! where one is configured.

mod shipping;

use std::io::IsTerminal;

use anyhow::Context;
use secrecy::SecretString;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use shipping::Shipping;

/// Lines that may wait for a slow reader of standard error; more are dropped, and
/// counted, because a log must not hold up a payment.
const LINES_MAX: usize = 64 * 1024;

/// A bare word that is no level would be taken for the name of a module, and
/// everything else would fall silent.
fn is_directive(text: &str) -> bool {
    text.contains('=') || text.parse::<LevelFilter>().is_ok()
}

/// Logging while it is held; what is still waiting is written and shipped when it is
/// dropped.
#[derive(Debug)]
pub struct Logs {
    _shipping: Option<Shipping>,
    _writer: WorkerGuard,
}

/// What lets lines of these levels through (`info,engine=debug`); `said_by` is the setting
/// that an error names.
pub fn filter(levels: &str, said_by: &str) -> anyhow::Result<EnvFilter> {
    let filter = EnvFilter::try_new(levels).ok().filter(|_| levels.split(',').all(is_directive));
    filter.with_context(|| format!("{said_by}={levels:?} is no list of levels like info,engine=debug"))
}

/// Starts logging what `filter` lets through, to `service` as well where there is one.
pub fn start(filter: EnvFilter, service: Option<&SecretString>) -> anyhow::Result<Logs> {
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .finish(std::io::stderr());
    let (shipping, lines) = service.map(Shipping::start).transpose()?.unzip();
    let shipped = lines.map(|lines| as_json(lines).with_filter(shipping::not_its_own()));
    let subscriber = tracing_subscriber::registry().with(filter).with(shipped);
    if std::io::stderr().is_terminal() {
        subscriber.with(fmt::layer().with_target(false).with_writer(writer)).init();
    } else {
        subscriber.with(as_json(writer)).init();
    }
    Ok(Logs { _shipping: shipping, _writer: guard })
}

/// One object a line, the event's fields beside its time, level and target.
fn as_json<S, W>(writer: W) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + 'static,
{
    fmt::layer().with_ansi(false).json().flatten_event(true).with_current_span(false).with_writer(writer)
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
