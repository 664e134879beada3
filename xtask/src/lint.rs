//! What is checked without running anything of ours.

use crate::shell::{cargo, say, step, works};
use crate::tidy;

/// Formatting, clippy, licences and bans, and [`tidy`].
///
/// # Errors
/// At the first step that finds something.
pub fn run() -> anyhow::Result<()> {
    step("formatting", &mut cargo(&["fmt", "--all", "--check"])?)?;
    // Of the peers one is Rust; as no part of the workspace it is not built here.
    let peer = ["fmt", "--manifest-path", "bench/peers/axum-plain/Cargo.toml", "--check"];
    step("formatting of bench/peers", &mut cargo(&peer)?)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    step("clippy, warnings denied", &mut cargo(&clippy)?)?;
    licences_and_bans()?;
    tidy::run()
}

fn licences_and_bans() -> anyhow::Result<()> {
    if !works(&mut cargo(&["deny", "--version"])?) {
        say("licences and bans: LEFT OUT, cargo-deny is not installed (cargo install --locked cargo-deny)");
        return Ok(());
    }
    // It looks at crates for other systems too, which a build here has not fetched.
    if !works(&mut cargo(&["fetch", "--locked"])?) {
        say("licences and bans: LEFT OUT, no network for the crates of other systems");
        return Ok(());
    }
    let check = ["deny", "--offline", "check", "licenses", "bans", "sources"];
    step("licences, bans and sources", &mut cargo(&check)?)
}
