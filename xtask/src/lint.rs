//! What is checked without running anything of ours.

use crate::shell::{cargo, say, step, works};
use crate::tidy;

/// Formatting, clippy, licences and bans, and [`tidy`].
///
/// # Errors
/// At the first step that finds something.
pub fn run() -> anyhow::Result<()> {
    step("formatting", &mut cargo(&["fmt", "--all", "--check"])?)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    step("clippy, warnings denied", &mut cargo(&clippy)?)?;
    if works(&mut cargo(&["deny", "--version"])?) {
        // Both checks need nothing but the crates that are built, so no network.
        step("licences and bans", &mut cargo(&["deny", "--offline", "check", "licenses", "bans"])?)?;
    } else {
        say("licences and bans: LEFT OUT, cargo-deny is not installed (cargo install --locked cargo-deny)");
    }
    tidy::run()
}
