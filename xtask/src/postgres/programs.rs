//! Where PostgreSQL's programs are, and as whom they run.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::packages::{can_install, install};
use crate::shell::works;

/// The oldest that Quittance runs on.
const MAJOR_MIN: u32 = 15;
/// Where Debian and its descendants keep each major version apart.
const VERSIONS_OF_DEBIAN: &str = "/usr/lib/postgresql";
/// What a server is made, run and asked with.
const NEEDED: [&str; 4] = ["postgres", "initdb", "pg_basebackup", "psql"];
/// Whom root lets the server run as: postgres refuses to run as root.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The programs of one release, in one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    directory: PathBuf,
    version: Version,
    user: Option<User>,
}

/// Major and minor.
type Version = (u32, u32);

/// Somebody else than who runs this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

impl Programs {
    /// The newest that is here; where there is none, and root has apt, the distribution's.
    pub(super) fn found_or_installed() -> anyhow::Result<Self> {
        let user = if rustix::process::geteuid().is_root() { Some(User::unprivileged) } else { None };
        let mut newest = newest(&directories());
        if newest.is_none() && can_install() {
            install(&["postgresql"])?;
            newest = self::newest(&directories());
        }
        let Some((version, directory)) = newest else {
            bail!("install PostgreSQL {MAJOR_MIN} or later (Debian: apt-get install postgresql), or have it in PATH");
        };
        Ok(Self { directory, version, user: user.map(|find| find()).transpose()? })
    }

    /// What the release calls itself.
    pub(super) fn version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// A program that runs as the server's user, in a directory that this user may enter, and that knows
    /// nothing of what this environment says about other servers.
    pub(super) fn command(&self, program: &str, directory: &Path) -> Command {
        let mut command = Command::new(self.directory.join(program));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        // Messages are read, by people and by tests: in one language.
        command.env("LC_ALL", "C").current_dir(directory).stdin(Stdio::null());
        command
    }

    /// Makes a file or directory the server's user's.
    pub(super) fn hand_over(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(User { uid, gid }) = self.user {
            chown(path, Some(uid), Some(gid)).with_context(|| format!("cannot hand over {}", path.display()))?;
        }
        Ok(())
    }
}

impl User {
    fn unprivileged() -> anyhow::Result<Self> {
        let id = |option: &str, name: &str| {
            let output = Command::new("id").args([option, name]).stderr(Stdio::null()).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok().filter(|id| *id != 0)
        };
        let user = UNPRIVILEGED.iter().find_map(|name| Some(Self { uid: id("-u", name)?, gid: id("-g", name)? }));
        user.with_context(|| {
            format!("PostgreSQL does not run as root, and there is no user {}", UNPRIVILEGED.join(" or "))
        })
    }
}

/// Where to look: what people put into `PATH` first.
fn directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir(VERSIONS_OF_DEBIAN) {
        directories.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    directories
}

fn newest(directories: &[PathBuf]) -> Option<(Version, PathBuf)> {
    let found = directories.iter().filter_map(|directory| release_in(directory).ok());
    found.filter(|((major, _), _)| *major >= MAJOR_MIN).max_by_key(|(version, _)| *version)
}

/// The release whose server is in this directory, or is linked to from it.
fn release_in(directory: &Path) -> anyhow::Result<(Version, PathBuf)> {
    let postgres = directory.join("postgres").canonicalize()?;
    let home = postgres.parent().context("a file is in a directory")?;
    let output = Command::new(&postgres).arg("--version").output()?;
    let version = version_of(&String::from_utf8_lossy(&output.stdout)).context("no version")?;
    let is_whole = NEEDED.iter().all(|program| works(Command::new(home.join(program)).arg("--version")));
    ensure!(is_whole, "not all of the programs");
    Ok((version, home.to_owned()))
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`; a beta is `18beta1`.
fn version_of(said: &str) -> Option<Version> {
    let number = said.split("(PostgreSQL) ").nth(1)?.split_whitespace().next()?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((digits(major)?, digits(minor).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn versions_are_read_as_each_distribution_writes_them() {
        let table = [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some((15, 14))),
            ("postgres (PostgreSQL) 17.0\n", Some((17, 0))),
            ("postgres (PostgreSQL) 18beta1\n", Some((18, 0))),
            ("postgres (PostgreSQL) 9.6.24\n", Some((9, 6))),
            ("mysqld  Ver 8.0\n", None),
            ("", None),
        ];
        for (said, version) in table {
            assert_eq!(version_of(said), version, "{said}");
        }
    }

    #[test]
    fn the_newest_whole_release_that_is_new_enough_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let release = |name: &str, programs: &[&str]| {
            let directory = folder.path().join(name);
            fs::create_dir(&directory).unwrap();
            for program in programs {
                let file = directory.join(program);
                fs::write(&file, format!("#!/bin/sh\necho '{program} (PostgreSQL) {name}'\n")).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            }
            directory.canonicalize().unwrap()
        };
        let (old, small, ours) = (release("14.20", &NEEDED), release("15.9", &NEEDED), release("15.10", &NEEDED));
        let torn = release("17.2", &NEEDED[..2]);
        let links = folder.path().join("links");
        fs::create_dir(&links).unwrap();
        symlink(ours.join("postgres"), links.join("postgres")).unwrap();

        assert_eq!(newest(&[old.clone(), small.clone(), torn.clone(), ours.clone()]), Some(((15, 10), ours.clone())));
        assert_eq!(newest(&[small, links]), Some(((15, 10), ours)), "a link leads to where the other programs are");
        assert_eq!(newest(&[old, torn, folder.path().join("nowhere")]), None);
    }
}
