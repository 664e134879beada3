//! The distribution's packages, where they may be installed.

use std::process::Command;

use crate::shell::{step, works};

/// Whether this is root on a system with apt.
pub fn can_install() -> bool {
    rustix::process::geteuid().is_root() && works(Command::new("apt-get").arg("--version"))
}

/// # Errors
/// When apt does not get or install one of them.
pub fn install(packages: &[&str]) -> anyhow::Result<()> {
    step("apt-get update", Command::new("apt-get").args(["update", "-qq"]))?;
    let options = ["install", "-y", "-qq", "--no-install-recommends"];
    let mut command = Command::new("apt-get");
    step(&format!("installing {}", packages.join(" and ")), command.args(options).args(packages))
}
