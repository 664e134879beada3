//! Links between documents.

use super::{File, numbered};

/// Relative links in Markdown that lead nowhere in the tree.
pub fn broken(tree: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in tree.iter().filter(|file| file.path.ends_with(".md")) {
        let mut in_code = false;
        for (number, line) in numbered(&file.text) {
            in_code ^= line.trim_start().starts_with("```");
            if in_code {
                continue;
            }
            for link in links(line).filter(|link| !exists(tree, &file.path, link)) {
                findings.push(format!("{}:{number}: {link} leads nowhere", file.path));
            }
        }
    }
    findings
}

/// What is in the round brackets of `[text](link "title")`, if it is relative.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
        .map(|link| link.trim_matches(['<', '>']))
        .filter(|link| !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:"))
}

fn exists(tree: &[File], from: &str, link: &str) -> bool {
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = if path.is_empty() { from.to_owned() } else { resolve(from, path) };
    let folder = format!("{target}/");
    match heading {
        None => tree.iter().any(|file| file.path == target || file.path.starts_with(&folder)),
        Some(heading) => tree.iter().any(|file| {
            file.path == target && (!target.ends_with(".md") || headings(&file.text).any(|anchor| anchor == heading))
        }),
    }
}

/// The anchors that GitHub gives a document's headings.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    })
}

/// The path from the root of what `link` means in the document `from`.
fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = if link.starts_with('/') { vec![] } else { from.split('/').collect() };
    parts.pop(); // The document itself.
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file;

    #[test]
    fn links_are_followed_from_where_they_stand() {
        let others = [file("docs/adr/0001-layout.md", "# Layout\n\n## Why not, then?\n"), file("LICENSE", "")];
        let table = [
            ("README.md", "[a](docs/adr/0001-layout.md)", 0),
            ("README.md", "[a](docs/adr)", 0),
            ("README.md", "[a](docs/adr/)", 0),
            ("README.md", "[a](docs/adr/0001-layout.md#why-not-then)", 0),
            ("README.md", "[a](docs/adr/0001-layout.md#why)", 1),
            ("README.md", "[a](docs/gone.md) and [b](gone.md)", 2),
            ("docs/users.md", "[a](adr/0001-layout.md), [b](../LICENSE)", 0),
            ("docs/users.md", "[a](LICENSE)", 1),
            ("docs/users.md", "[a](/LICENSE \"with a title\")", 0),
            ("docs/users.md", "[a](https://example.com/x), [b](mailto:a@example.com)", 0),
            ("docs/users.md", "# Here\n[a](#here)", 0),
            ("docs/users.md", "```\n[a](gone.md)\n```", 0),
        ];
        for (path, text, findings) in table {
            let tree: Vec<File> = others.iter().cloned().chain([file(path, text)]).collect();
            assert_eq!(broken(&tree).len(), findings, "{path}: {text}");
        }
    }
}
