//! Habits of the tree that need no reviewer. Each check is a function from the
//! tree's files to findings; `cargo xtask tidy` prints them, and a test runs them.

mod crates;
mod habits;
mod links;

use std::fs;
use std::path::Path;

use anyhow::ensure;

use crate::shell::{root, say};

/// A text file: its path from the root, with slashes, and what is in it.
#[derive(Clone, Debug)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// Finds what is wrong with a tree, as lines that begin with the path.
type Check = fn(&[File]) -> Vec<String>;

/// Directories that are not ours to check: built, or git's.
const LEFT_OUT: [&str; 3] = [".git", "target", "node_modules"];

/// # Errors
/// When there are findings: they are printed.
pub fn run() -> anyhow::Result<()> {
    say("tidy");
    let findings = findings(&read_tree(&root()?)?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    ensure!(findings.is_empty(), "tidy: {} findings", findings.len());
    Ok(())
}

fn findings(tree: &[File]) -> Vec<String> {
    let checks: [Check; 8] = [
        habits::long_files,
        habits::machine_paths,
        habits::skipped_tests,
        habits::unfinished,
        habits::sleeping_tests,
        crates::arrows,
        crates::untested_store_methods,
        links::broken,
    ];
    checks.iter().flat_map(|check| check(tree)).collect()
}

fn read_tree(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut tree = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if !LEFT_OUT.contains(&entry.file_name().to_string_lossy().as_ref()) {
                    directories.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
                tree.push(File { path, text });
            }
        }
    }
    tree.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(tree)
}

/// Lines with their numbers, from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

#[cfg(test)]
pub fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let findings = findings(&read_tree(root).unwrap());
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
