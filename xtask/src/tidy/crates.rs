//! What crates may name, and that the store's contract is tested whole.

use super::File;

/// Each package with those of ours that it may depend on. Development dependencies
/// may point anywhere: they build tests, not the product.
const ARROWS: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("gateways", &["domain"]),
    ("store", &["domain"]),
    ("engine", &["domain", "gateways", "store"]),
    ("server", &["domain", "gateways", "store", "engine"]),
    ("cli", &["domain", "gateways", "store", "engine", "server"]),
    ("bench", &["domain", "gateways", "store", "engine", "server", "testdb", "xtask"]),
    ("testdb", &[]),
    ("xtask", &[]),
];

/// Crates of others that only these of ours may name.
const KEPT_TO: [(&str, &[&str]); 2] = [("sqlx", &["store", "testdb"]), ("axum", &["server", "bench"])];

/// What other people write: no part of the workspace.
const PEERS: &str = "bench/peers/";

/// Dependencies that point the wrong way, or to what another crate keeps to itself.
pub fn arrows(tree: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    let is_ours = |file: &&File| file.path.ends_with("/Cargo.toml") && !file.path.starts_with(PEERS);
    for file in tree.iter().filter(is_ours) {
        let Ok(manifest) = file.text.parse::<toml::Table>() else {
            findings.push(format!("{}: not TOML", file.path));
            continue;
        };
        let name = manifest.get("package").and_then(|package| package.get("name")?.as_str()).unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(package, _)| *package == name) else {
            findings.push(format!("{}: package `{name}` has no arrows yet: say in xtask what it may name", file.path));
            continue;
        };
        for (section, dependency) in dependencies(&manifest) {
            let is_ours = ARROWS.iter().any(|(package, _)| *package == dependency);
            if is_ours && section != "dev-dependencies" && !allowed.contains(&dependency.as_str()) {
                findings.push(format!("{}: {name} must not depend on {dependency}", file.path));
            }
            if let Some((_, keepers)) = KEPT_TO.iter().find(|(kept, _)| *kept == dependency)
                && !keepers.contains(&name)
            {
                findings.push(format!("{}: only {} may name {dependency}", file.path, keepers.join(" and ")));
            }
        }
    }
    findings
}

/// Section and name of each dependency, those for one target among them.
fn dependencies(manifest: &toml::Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table).chain([manifest]);
    for table in tables {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let names = table.get(section).and_then(toml::Value::as_table);
            found.extend(names.into_iter().flatten().map(|(name, _)| (section.to_owned(), name.clone())));
        }
    }
    found
}

/// Methods of the store that its contract suite never calls.
pub fn untested_store_methods(tree: &[File]) -> Vec<String> {
    let tests: Vec<&File> = tree.iter().filter(|file| file.path.starts_with("crates/store/tests/")).collect();
    let mut findings = Vec::new();
    for file in tree.iter().filter(|file| file.path.starts_with("crates/store/src/")) {
        for name in store_methods(&file.text) {
            if !tests.iter().any(|test| calls(&test.text, name)) {
                findings.push(format!("{}: `{name}` is never called in crates/store/tests", file.path));
            }
        }
    }
    findings
}

/// Names of the public asynchronous methods in `impl Store` blocks, as rustfmt writes
/// them: what the crate is used through. Its own inner functions are not meant.
fn store_methods(text: &str) -> Vec<&str> {
    let mut in_store = false;
    let mut names = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("impl ") {
            Some(rest) => in_store = identifier(rest) == "Store",
            None if line == "}" => in_store = false,
            None => {}
        }
        let method = line.trim_start().strip_prefix("pub async fn ").filter(|_| in_store);
        names.extend(method.map(identifier));
    }
    names
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Whether the text has `name(` or `name::<`, as a word of its own.
fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let starts = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = &text[at + name.len()..];
        starts && (rest.starts_with('(') || rest.starts_with("::<"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    fn manifest(name: &str, rest: &str) -> File {
        file(&format!("crates/{name}/Cargo.toml"), &format!("[package]\nname = \"{name}\"\n{rest}"))
    }

    #[test]
    fn arrows_hold() {
        let table = [
            ("engine", "[dependencies]\nstore.workspace = true\ndomain.workspace = true", 0),
            ("store", "[dependencies]\nengine.workspace = true", 1),
            ("domain", "[dependencies]\ngateways.workspace = true", 1),
            ("domain", "[target.'cfg(unix)'.dependencies]\nstore.workspace = true", 1),
            ("gateways", "[build-dependencies]\nstore.workspace = true", 1),
            ("cli", "[dev-dependencies]\nbench.path = \"../../bench\"", 0),
            ("cli", "[dependencies]\nbench.path = \"../../bench\"", 1),
            ("store", "[dependencies]\nsqlx.workspace = true", 0),
            ("cli", "[dev-dependencies]\nsqlx.workspace = true", 1),
            ("engine", "[dev-dependencies]\ntestdb.workspace = true", 0),
            ("store", "[dependencies]\ntestdb.workspace = true", 1),
            ("testdb", "[dev-dependencies]\nsqlx.workspace = true", 0),
            ("bench", "[dependencies]\naxum.workspace = true", 0),
            ("engine", "[dependencies]\naxum = \"0.8\"", 1),
            ("newcomer", "", 1),
        ];
        for (name, rest, findings) in table {
            assert_eq!(arrows(&[manifest(name, rest)]).len(), findings, "{name}: {rest}");
        }
    }

    #[test]
    fn a_store_method_without_a_test_is_found() {
        let source = "impl Store {\n    pub async fn accept(&self) {}\n    pub async fn claim<T>(&self) {}\n}\n\
                      impl StoreWriter {\n    pub async fn inner(&self) {}\n}\npub async fn also_inner() {}\n";
        let tree =
            |test: &str| [file("crates/store/src/events.rs", source), file("crates/store/tests/contract.rs", test)];
        let table = [
            ("store.accept(&batch).await; store.claim(3).await", 0),
            ("store.accept(&batch).await; store.claim::<u8>(3).await", 0),
            ("store.accept(&batch).await; store.reclaim(3).await", 1),
            ("// accept and claim are not called", 2),
        ];
        for (test, findings) in table {
            assert_eq!(untested_store_methods(&tree(test)).len(), findings, "{test}");
        }
    }
}
