//! Where a measurement was taken: what is needed to judge it, and nothing that names
//! a machine or a person.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

const SYNC_PROBES: usize = 200;
const SYNC_PROBE_LEN: usize = 4_096;

#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// RFC 3339, UTC.
    pub at: String,
    pub cpus: usize,
    pub cpu_model: String,
    pub memory_gb: u64,
    pub kernel: String,
    pub rustc: String,
    /// With `+changes` when the tree had any.
    pub revision: String,
    /// Of the scratch databases.
    pub filesystem: String,
    /// Median of appending 4 KiB and `fdatasync`, in microseconds, before the run.
    pub disk_sync_micros: f64,
}

impl Environment {
    /// All of it but the time, in one sentence.
    pub fn line(&self) -> String {
        format!(
            "Revision {}, {}, {} CPUs ({}), {} GB, Linux {}, {}; 4 KiB append + fdatasync {:.0} µs.",
            self.revision,
            self.rustc,
            self.cpus,
            self.cpu_model,
            self.memory_gb,
            self.kernel,
            self.filesystem,
            self.disk_sync_micros,
        )
    }

    /// What files about it are called: the time, without what file names do not have.
    pub fn stem(&self) -> String {
        self.at.chars().filter(char::is_ascii_alphanumeric).collect()
    }
}

/// # Errors
/// When the scratch directory cannot be written.
pub fn here(scratch: &Path) -> std::io::Result<Environment> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':').map(|value| value.trim().to_owned()))
            .unwrap_or_else(|| "unknown".to_owned())
    };
    let memory_kb: u64 =
        field(&read("/proc/meminfo"), "MemTotal").split(' ').next().and_then(|kb| kb.parse().ok()).unwrap_or(0);
    Ok(Environment {
        at: jiff::Timestamp::from_second(crate::now_seconds()).map(|at| at.to_string()).unwrap_or_default(),
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        cpu_model: field(&read("/proc/cpuinfo"), "model name"),
        memory_gb: (memory_kb + 500_000) / 1_000_000,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        rustc: said(Command::new("rustc").arg("--version")),
        revision: revision(),
        filesystem: filesystem_of(&read("/proc/self/mounts"), &scratch.canonicalize()?),
        disk_sync_micros: disk_sync_micros(scratch)?,
    })
}

fn revision() -> String {
    let revision = said(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]));
    let changed = said(Command::new("git").args(["status", "--porcelain"]));
    if changed.is_empty() || changed == "unknown" { revision } else { format!("{revision}+changes") }
}

pub(crate) fn said(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// The type of the mount that is deepest on the way to `path`.
fn filesystem_of(mounts: &str, path: &Path) -> String {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

fn disk_sync_micros(scratch: &Path) -> std::io::Result<f64> {
    let mut file = tempfile::tempfile_in(scratch)?;
    file.write_all(&vec![0; SYNC_PROBES * SYNC_PROBE_LEN])?; // As a log is: overwritten, not grown.
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut micros = Vec::with_capacity(SYNC_PROBES);
    for _ in 0..SYNC_PROBES {
        let started = Instant::now();
        file.write_all(&[1; SYNC_PROBE_LEN])?;
        file.sync_data()?;
        micros.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(crate::results::median(&micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nproc /proc proc rw 0 0\n";
        for (path, kind) in [("/srv/quittance", "ext4"), ("/tmp/scratch", "tmpfs"), ("/tmpfile", "ext4")] {
            assert_eq!(filesystem_of(mounts, Path::new(path)), kind, "{path}");
        }
        assert_eq!(filesystem_of("", Path::new("/srv")), "unknown");
    }
}
