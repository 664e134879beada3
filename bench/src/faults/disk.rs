//! A small disk of its own, which can be filled up and given room again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

static CHUNK: [u8; 64 * 1024] = [0; 64 * 1024];

/// A file system in memory, unmounted when this is dropped. Only root can have one.
#[derive(Debug)]
pub(super) struct Disk {
    mounted_on: PathBuf,
}

impl Disk {
    /// # Errors
    /// When this process may not mount: with what `mount` says.
    pub fn mount(on: &Path, megabytes: u32) -> anyhow::Result<Self> {
        std::fs::create_dir_all(on)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=0755"), "tmpfs"]).arg(on);
        let output = mount.output().context("there is no `mount`")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self { mounted_on: on.to_owned() })
    }

    pub fn path(&self) -> &Path {
        &self.mounted_on
    }

    /// Fills it up, but for so many bytes.
    ///
    /// # Errors
    /// When it cannot be written to at all.
    pub fn fill_up_but(&self, bytes: u64) -> anyhow::Result<()> {
        let mut ballast = File::create(self.ballast())?;
        let mut len = 0;
        loop {
            match ballast.write(&CHUNK) {
                Ok(written) => len += written as u64,
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ballast.set_len(len.saturating_sub(bytes))?)
    }

    /// Somebody deletes something large.
    ///
    /// # Errors
    /// When it was not filled up.
    pub fn give_room(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.mounted_on.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is about to end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted_on).output();
    }
}
