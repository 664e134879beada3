//! What is in a file: its length, and words that should not be there.
//!
//! The words looked for are written in two pieces, so that this file has none.

use super::{File, numbered};

const LINES_MAX: usize = 600;

fn is_rust(file: &&File) -> bool {
    file.path.ends_with(".rs")
}

/// Source files that no longer fit in a head.
pub fn long_files(tree: &[File]) -> Vec<String> {
    tree.iter()
        .filter(is_rust)
        .filter(|file| file.path.contains("/src/"))
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines} lines, {LINES_MAX} at most: split it by noun", file.path))
        .collect()
}

/// Paths that exist on one person's machine only.
pub fn machine_paths(tree: &[File]) -> Vec<String> {
    let homes = [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/"), concat!("C:\\Us", "ers\\")];
    let starts_a_path = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || "/.-_}".contains(c));
    let mut findings = Vec::new();
    for file in tree {
        for (number, line) in numbered(&file.text) {
            let found = homes.iter().find(|home| line.match_indices(**home).any(|(at, _)| starts_a_path(&line[..at])));
            if let Some(home) = found {
                findings.push(format!("{}:{number}: {home}… exists on one machine only", file.path));
            }
        }
    }
    findings
}

/// Tests that are there but do not run.
pub fn skipped_tests(tree: &[File]) -> Vec<String> {
    lines_with(tree, &[concat!("#[ign", "ore")], "a test that does not run is none", |_, _| true)
}

/// Code that is promised.
pub fn unfinished(tree: &[File]) -> Vec<String> {
    lines_with(tree, &[concat!("tod", "o!("), concat!("unimpl", "emented!(")], "finish it or leave it out", |_, _| true)
}

/// Tests that hope that a while is enough.
pub fn sleeping_tests(tree: &[File]) -> Vec<String> {
    lines_with(tree, &[concat!("sle", "ep(")], "wait for the thing itself, with a deadline", |file, number| {
        let tests_begin =
            numbered(&file.text).find(|(_, line)| line.contains("#[cfg(test)]")).map(|(number, _)| number);
        file.path.contains("/tests/") || tests_begin.is_some_and(|begin| number > begin)
    })
}

/// Lines of Rust, comments aside, that hold one of the words where `counts` says so.
fn lines_with(tree: &[File], words: &[&str], why: &str, counts: impl Fn(&File, usize) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.iter().filter(is_rust) {
        for (number, line) in numbered(&file.text) {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = words.iter().find(|word| code.contains(**word) && counts(file, number)) {
                findings.push(format!("{}:{number}: `{word}`: {why}", file.path));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    #[test]
    fn a_source_file_may_have_600_lines_and_no_more() {
        for (path, lines, findings) in [
            ("crates/store/src/events.rs", 600, 0),
            ("crates/store/src/events.rs", 601, 1),
            ("crates/store/tests/contract.rs", 601, 0),
        ] {
            assert_eq!(long_files(&[file(path, &"\n".repeat(lines))]).len(), findings, "{path}, {lines} lines");
        }
    }

    #[test]
    fn a_path_of_one_machine_is_found_and_a_url_is_not() {
        let home = concat!("/ho", "me/");
        let root = concat!("/ro", "ot/");
        let table = [
            (format!("cd {home}ada/quittance"), 1),
            (format!("\"{root}.cargo\""), 1),
            (format!("file://{home}ada"), 0),
            (format!("https://example.com{home}page"), 0),
            (format!("${{BASE}}{home}page"), 0),
            ("/var/lib/quittance".to_owned(), 0),
        ];
        for (line, findings) in table {
            assert_eq!(machine_paths(&[file("README.md", &line)]).len(), findings, "{line}");
        }
    }

    #[test]
    fn words_count_in_code_and_not_in_comments() {
        let ignored = concat!("#[ign", "ore]\nfn slow() {}");
        let promised = concat!("fn refund() { tod", "o!() }");
        assert_eq!(skipped_tests(&[file("crates/store/tests/contract.rs", ignored)]).len(), 1);
        assert_eq!(unfinished(&[file("crates/store/src/lib.rs", promised)]).len(), 1);
        assert_eq!(unfinished(&[file("crates/store/src/lib.rs", &format!("// {promised}"))]).len(), 0);
    }

    #[test]
    fn tests_do_not_sleep_but_code_may_back_off() {
        let sleep = concat!("tokio::time::sle", "ep(pause).await;");
        let table = [
            ("crates/engine/src/apply.rs", sleep.to_owned(), 0),
            ("crates/engine/src/apply.rs", format!("{sleep}\n#[cfg(test)]\nmod tests {{}}"), 0),
            ("crates/engine/src/apply.rs", format!("#[cfg(test)]\nmod tests {{\n{sleep}\n}}"), 1),
            ("crates/cli/tests/serve.rs", sleep.to_owned(), 1),
        ];
        for (path, text, findings) in table {
            assert_eq!(sleeping_tests(&[file(path, &text)]).len(), findings, "{path}: {text}");
        }
    }
}
