//! What commands print. A reader that went away (`quittance events list | head`) is
//! no failure and no panic: the command just ends.

use std::process::ExitCode;

/// `println!` for results: fails where `println!` panics.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($text)*)
    }};
}

/// `eprintln!` for what is said to people beside the result: nobody may be there.
#[macro_export]
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// Wrong usage that is not seen before the command runs.
#[derive(Debug)]
pub struct WrongUsage(pub String);

impl std::error::Error for WrongUsage {}

impl std::fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// As clap has it.
const WRONG_USAGE_STATUS: u8 = 2;

/// Ends a failed command: one line that names every cause once.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    let reader_left = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(reader_left) {
        return ExitCode::SUCCESS;
    }
    tell!("quittance: {}", line(error));
    if error.is::<WrongUsage>() { ExitCode::from(WRONG_USAGE_STATUS) } else { ExitCode::FAILURE }
}

/// Causes that repeat what was said before them are left out.
pub fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// `1 event`, `2 events`, `2 deliveries`, `2 batches`
pub fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    if number == 1 {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        Some(stem) => format!("{number} {stem}ies"),
        None if noun.ends_with("ch") || noun.ends_with("sh") => format!("{number} {noun}es"),
        None => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_error_is_one_line_and_says_nothing_twice() {
        let error = Err::<(), _>(anyhow::anyhow!("the file\n  is away")).context("reading: the file is away");
        assert_eq!(line(&error.unwrap_err()), "reading: the file is away");
        let error = Err::<(), _>(anyhow::anyhow!("no such file")).context("bad.toml cannot be read");
        assert_eq!(line(&error.unwrap_err()), "bad.toml cannot be read: no such file");
    }

    #[test]
    fn counts_agree_with_their_nouns() {
        assert_eq!(["0 events", "1 event", "2 events"], [0_u64, 1, 2].map(|number| count(number, "event")));
        assert_eq!(["1 delivery", "2 deliveries"], [1_u64, 2].map(|number| count(number, "delivery")));
        assert_eq!(["2 batches", "2 crashes", "2 days"], ["batch", "crash", "day"].map(|noun| count(2_u64, noun)));
    }
}
