//! The server's processes, and who cleans up after this one.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What has not happened by then will not.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks until `happened`, or says that `what` did not.
pub(super) fn until(what: &str, mut happened: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let started = Instant::now();
    while !happened()? {
        if started.elapsed() > DEADLINE {
            bail!("{what}: not after {DEADLINE:?}");
        }
        #[expect(clippy::disallowed_methods, reason = "another program's files and answers are looked at again")]
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

pub(super) fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("not a process id")?;
    Ok(kill_process(pid, signal)?)
}

/// Ends a server as an outage would: nobody gets to say or write another word.
pub(super) fn kill_with_children(server: &mut Child) -> anyhow::Result<()> {
    // Stopped, it starts no others, and does not clean up after those that die.
    signal(server.id(), Signal::STOP)?;
    until("PostgreSQL's processes are killed", || {
        let children = children_of(server.id())?;
        for child in &children {
            let _ = signal(*child, Signal::KILL); // It may have ended already.
        }
        Ok(children.is_empty())
    })?;
    server.kill()?;
    server.wait()?;
    Ok(())
}

/// The living children, as Linux's `/proc` has them.
fn children_of(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").context("there is no /proc to find PostgreSQL's processes in")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue }; // It has ended.
        if living_parent(&stat) == Some(parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// Who started the process that this is the `stat` of (proc(5)), unless it is dead already.
fn living_parent(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace(); // The name before may have anything in it.
    let is_dead = matches!(fields.next()?, "Z" | "X");
    fields.next()?.parse().ok().filter(|_| !is_dead)
}

/// A process of its own that ends the server and removes its directory when this process ends, however it does:
/// a `Drop` is not run by SIGINT and SIGTERM, and nothing is by SIGKILL.
#[derive(Debug)]
pub(super) struct Guardian {
    shell: Child,
    /// It reads which server runs, a line each time that this changes. It closes with this process.
    line: Option<ChildStdin>,
    directory: PathBuf,
}

/// `$1` is the directory. An immediate shutdown ends with the removal of `postmaster.pid`; whether the process is
/// still there says less, because nobody may be left to reap it.
const GUARD: &str = r#"
server=
while read -r line; do server=$line; done
if [ -n "$server" ] && kill -QUIT "$server"; then
    looks=0
    while [ -e "$1/data/postmaster.pid" ] && [ "$looks" -lt 200 ]; do looks=$((looks + 1)); sleep 0.05; done
fi
rm -rf "$1"
"#;

impl Guardian {
    pub(super) fn over(directory: TempDir) -> anyhow::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // Ctrl-C in a terminal goes to the whole group of what runs there.
            .spawn()
            .context("cannot start sh")?;
        let line = shell.stdin.take();
        Ok(Self { shell, line, directory: directory.keep() })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Which server runs now, if any.
    pub(super) fn told(&mut self, server: Option<u32>) -> anyhow::Result<()> {
        let said = server.map(|pid| pid.to_string()).unwrap_or_default();
        let line = self.line.as_mut().context("the guardian has gone")?;
        writeln!(line, "{said}").context("the guardian has gone")
    }
}

impl Drop for Guardian {
    /// Returns when the directory is gone.
    fn drop(&mut self) {
        drop(self.line.take());
        let _ = self.shell.wait(); // There is nobody left to tell.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        let table = [
            ("41 (postgres) S 40 41 41 0", Some(40)),
            ("41 (a) S 7 (b) S 40 41", Some(40)),
            ("41 (postgres) Z 40 41 41 0", None),
            ("", None),
        ];
        for (stat, parent) in table {
            assert_eq!(living_parent(stat), parent, "{stat}");
        }
    }
}
