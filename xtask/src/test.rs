//! All tests, on a machine with nothing but Rust and a C compiler.
//!
//! | what | for | where from, if missing |
//! |---|---|---|
//! | the corpus of recorded events and signature vectors | `gateways`, `cli` | `QUITTANCE_CORPUS`, else `../shared`; never downloaded |
//! | Python 3 with `venv` | the next row | apt, as root on Debian or Ubuntu |
//! | the official `stripe` package, pinned | signing events as Stripe's own code does | PyPI, into `target/xtask/venv` |
//! | curl and openssl | the example of five systems | apt, as root on Debian or Ubuntu |
//! | PostgreSQL 15 or later | `xtask` itself, and what runs on it | apt, as root on Debian or Ubuntu |
//! | a server of it | `testdb`, and what runs on PostgreSQL | `QUITTANCE_POSTGRES`, else one is started, and ended |
//! | cargo-nextest | running tests side by side | `cargo test` is used instead |

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::packages::{can_install, install};
use crate::postgres::{Server, Settings, URL_VARIABLE};
use crate::shell::{cargo, root, say, step, target, works};

/// For `--help`.
pub const INSTALLS: &str = "\
Needs the corpus of recorded events: QUITTANCE_CORPUS, else ../shared.
Needs PostgreSQL: the server whose superuser's URL is in QUITTANCE_POSTGRES, else it starts one and ends it.
Installs where missing: the official `stripe` package from PyPI into target/xtask/venv; python3-venv, curl, openssl
and postgresql by apt, as root.
Uses cargo-nextest when it is installed.";

const STRIPE_PACKAGE: &str = "stripe==16.1.0";
const STRIPE_VERSION_CHECK: &str = "import importlib.metadata as m, sys; sys.exit(m.version('stripe') != '16.1.0')";

/// # Errors
/// When something that the tests need is missing and cannot be had, or a test fails.
pub fn run() -> anyhow::Result<()> {
    let corpus = corpus(&root()?, std::env::var_os("QUITTANCE_CORPUS").map(PathBuf::from))?;
    say(&format!("corpus: {}", corpus.display()));
    let python = python_with_stripe(&target()?.join("xtask").join("venv"))?;
    programs_of_the_example()?;
    let server = postgres()?;
    let with_environment = |mut command: Command| {
        command.env("QUITTANCE_CORPUS", &corpus).env("QUITTANCE_PYTHON", &python);
        command
    };
    let has_nextest = works(&mut cargo(&["nextest", "--version"])?);
    let (build, run): (&[&str], &[&str]) = if has_nextest {
        (&["nextest", "run", "--workspace", "--no-run"], &["nextest", "run", "--workspace", "--no-fail-fast"])
    } else {
        say("cargo-nextest is not installed: using cargo test");
        (
            &["test", "--workspace", "--all-targets", "--no-run"],
            &["test", "--workspace", "--all-targets", "--no-fail-fast"],
        )
    };
    step("building the binary and the tests", &mut with_environment(cargo(build)?))?;
    step("examples in the documentation", &mut with_environment(cargo(&["test", "--workspace", "--doc", "--quiet"])?))?;
    let mut tests = with_environment(cargo(run)?);
    if let Some(server) = &server {
        tests.env(URL_VARIABLE, server.url("postgres"));
    }
    step("tests", &mut tests)
}

/// A server that lives as long as this value, unless somebody says that there is one.
fn postgres() -> anyhow::Result<Option<Server>> {
    if std::env::var_os(URL_VARIABLE).is_some_and(|url| !url.is_empty()) {
        say(&format!("PostgreSQL: the one in {URL_VARIABLE}"));
        return Ok(None);
    }
    let server = Server::start(Settings::scratch())?;
    say(&format!("PostgreSQL {} on 127.0.0.1:{}", server.version(), server.port()));
    Ok(Some(server))
}

/// The corpus: what was asked for, else the one beside the repository. Tests that
/// need it must not pass without it, so neither does this.
fn corpus(root: &Path, asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let corpus = match &asked {
        Some(asked) => asked.clone(),
        None => root.join("..").join("shared"),
    };
    if !corpus.join("vectors").is_dir() || !corpus.join("events").is_dir() {
        bail!(
            "set QUITTANCE_CORPUS to the directory with `vectors` and `events`: {} has neither or one",
            corpus.display()
        );
    }
    Ok(corpus.canonicalize()?)
}

/// An interpreter in an environment of its own that has the official package.
fn python_with_stripe(venv: &Path) -> anyhow::Result<PathBuf> {
    let python = venv.join("bin").join("python");
    if works(Command::new(&python).args(["-c", STRIPE_VERSION_CHECK])) {
        say(&format!("{STRIPE_PACKAGE} is installed in target/xtask/venv"));
        return Ok(python);
    }
    if !make_venv(venv) {
        install_python()?;
        if !make_venv(venv) {
            bail!("`python3 -m venv` does not work: install python3 and python3-venv");
        }
    }
    step(
        &format!("installing {STRIPE_PACKAGE} from PyPI into target/xtask/venv"),
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", STRIPE_PACKAGE]),
    )
    .with_context(|| format!("install the Python package {STRIPE_PACKAGE} yourself: into {}", venv.display()))?;
    Ok(python)
}

/// Whether there is a fresh environment now.
fn make_venv(venv: &Path) -> bool {
    works(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))
}

fn install_python() -> anyhow::Result<()> {
    if !can_install() {
        bail!("install python3 and python3-venv: the tests sign events with Stripe's own package");
    }
    install(&["python3", "python3-venv"])
}

/// What `examples/five-systems.sh` needs, and how each says that it is there.
const EXAMPLE_PROGRAMS: [(&str, &str); 2] = [("curl", "--version"), ("openssl", "version")];

fn programs_of_the_example() -> anyhow::Result<()> {
    let is_missing = |(program, version): &(&str, &str)| !works(Command::new(program).arg(version));
    let missing: Vec<&str> = EXAMPLE_PROGRAMS.into_iter().filter(is_missing).map(|(program, _)| program).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !can_install() {
        bail!("install {}: examples/five-systems.sh, which is a test, needs it", missing.join(" and "));
    }
    install(&missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_corpus_is_an_error_that_says_what_to_set() {
        let nowhere = Path::new("/nonexistent/repository");
        for asked in [None, Some(PathBuf::from("/nonexistent/corpus"))] {
            let error = corpus(nowhere, asked).unwrap_err().to_string();
            assert!(error.contains("QUITTANCE_CORPUS"), "{error}");
        }
    }
}
