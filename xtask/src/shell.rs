//! Running other programs: a line that says what for, then the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Where this repository is checked out: cargo says so to what it runs.
pub fn root() -> anyhow::Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask …`")?;
    Ok(Path::new(&here).parent().context("xtask is a directory of the repository")?.to_owned())
}

/// Where cargo builds.
pub fn target() -> anyhow::Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => Ok(std::path::absolute(directory)?),
        None => Ok(root()?.join("target")),
    }
}

/// The cargo that runs this, in the repository's root.
pub fn cargo(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()?);
    Ok(command)
}

/// Says what is done and does it.
///
/// # Errors
/// When it cannot be run or ends with another status than 0.
pub fn step(what: &str, command: &mut Command) -> anyhow::Result<()> {
    say(what);
    let status = command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{what}: failed ({status})");
    }
    Ok(())
}

/// One line, on standard error, as cargo's own.
pub fn say(what: &str) {
    eprintln!("xtask: {what}");
}

/// Whether the program runs and ends well; it is not seen.
pub fn works(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}
