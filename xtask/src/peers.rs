//! What other people write, in `bench/peers`: copied into `target/xtask/peers` and
//! installed there, each with its own tool and from its own lock file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::shell::{cargo, root, step, target, works};

/// Peers that are Node packages.
const NODE: [&str; 2] = ["express", "supabase"];
const DJANGO: &str = "django";
const AXUM: &str = "axum-plain";
/// What was installed from, kept beside it once that is done.
const INSTALLED_FROM: &str = "installed-from";

/// Programs that the peers need, how each says that it will do, and what that means.
const NEEDED: [(&str, &[&str], &str); 3] = [
    ("node", &["-e", "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)"], "Node 20 or later"),
    ("npm", &["--version"], "npm"),
    (
        "python3",
        &["-c", "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))"],
        "Python 3.10 or later with venv",
    ),
];

/// # Errors
/// When one is missing: one line with all that are.
pub fn needs() -> anyhow::Result<()> {
    let is_missing = |(program, arguments, _): &&(&str, &[&str], &str)| !works(Command::new(program).args(*arguments));
    let missing: Vec<&str> = NEEDED.iter().filter(is_missing).map(|(_, _, what)| *what).collect();
    if !missing.is_empty() {
        bail!("the peers cannot be run: install {}", missing.join(", and "));
    }
    Ok(())
}

/// Installs what is not there yet. Returns the directory that has them.
///
/// # Errors
/// When a registry is away, or a build fails.
pub fn install() -> anyhow::Result<PathBuf> {
    let sources = root()?.join("bench").join("peers");
    let installed = target()?.join("xtask").join("peers");
    for peer in NODE {
        let directory = installed.join(peer);
        copy(&sources.join(peer), &directory)?;
        let lock = fs::read(directory.join("package-lock.json"))?;
        once(&lock, &directory.join("node_modules"), || {
            let mut npm = Command::new("npm");
            npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(&directory);
            step(&format!("installing {peer} from npm"), &mut npm)
        })?;
    }
    copy(&sources.join(DJANGO), &installed.join(DJANGO))?;
    let venv = installed.join("venv");
    let requirements = installed.join(DJANGO).join("requirements.txt");
    once(&fs::read(&requirements)?, &venv, || {
        step("making a Python environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin").join("python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements);
        step(&format!("installing {DJANGO} from PyPI"), &mut pip)
    })?;
    let mut build = cargo(&["build", "--release", "--locked", "--manifest-path"])?;
    build.arg(sources.join(AXUM).join("Cargo.toml")).arg("--target-dir").arg(installed.join(AXUM));
    step(&format!("building {AXUM} (release)"), &mut build)?;
    Ok(installed)
}

/// Does it unless it was done, to its end, from the same.
fn once(from: &[u8], directory: &Path, install: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let done = directory.join(INSTALLED_FROM);
    if fs::read(&done).is_ok_and(|was| was == from) {
        return Ok(());
    }
    install()?;
    Ok(fs::write(done, from)?)
}

/// Copies what is in a directory over what is in another, but not what tools left there.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if !entry.file_type()?.is_dir() {
            fs::copy(path, copied)?;
        } else if !["node_modules", "__pycache__"].map(Into::into).contains(&entry.file_name()) {
            copy(&path, &copied)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_installed_is_installed_again_when_its_lock_changes_or_it_failed() {
        let directory = tempfile::tempdir().unwrap();
        let installs = Cell::new(0);
        let install = |lock: &[u8], works: bool| {
            once(lock, directory.path(), || {
                installs.set(installs.get() + 1);
                if works { Ok(()) } else { bail!("the registry is away") }
            })
        };
        for (lock, works, count) in
            [(b"1", false, 1), (b"1", true, 2), (b"1", true, 2), (b"2", true, 3), (b"2", true, 3)]
        {
            assert_eq!(install(lock, works).is_ok(), works);
            assert_eq!(installs.get(), count);
        }
    }

    #[test]
    fn sources_are_copied_and_leftovers_are_not() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (path, text) in
            [("app.js", "new"), ("shop/urls.py", "urls"), ("node_modules/x/i.js", ""), ("shop/__pycache__/u", "")]
        {
            let path = from.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(to.path().join("app.js"), "old").unwrap();
        copy(from.path(), to.path()).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("app.js")).unwrap(), "new");
        assert_eq!(fs::read_to_string(to.path().join("shop/urls.py")).unwrap(), "urls");
        assert!(!to.path().join("node_modules").exists() && !to.path().join("shop/__pycache__").exists());
    }
}
