//! Where checkpoints of the hash chains are kept, and what signs them.

use std::path::PathBuf;

use anyhow::Context;
use engine::CheckpointKey;
use secrecy::{ExposeSecret, SecretString};

use super::file::File;
use super::{Environment, secret};

#[derive(Clone, Debug, Default)]
pub struct Checkpoints {
    /// Where it is said, and what: looked up only by who signs or verifies with it.
    key: Option<(&'static str, SecretString)>,
    /// Appended to, beside the log.
    pub file: Option<PathBuf>,
}

impl Checkpoints {
    pub fn of(file: &File, environment: Environment<'_>) -> Self {
        let in_file = || Some(("checkpoint_key", file.checkpoint_key.clone()?));
        let key = environment("QUITTANCE_CHECKPOINT_KEY").map(|key| ("QUITTANCE_CHECKPOINT_KEY", key.into()));
        let path = environment("QUITTANCE_CHECKPOINT_FILE").map(PathBuf::from);
        Self { key: key.or_else(in_file), file: path.or_else(|| file.checkpoint_file.clone()) }
    }

    /// The key, looked up; nothing where none is configured.
    pub fn key(&self, environment: Environment<'_>) -> anyhow::Result<Option<CheckpointKey>> {
        let Some((setting, written)) = &self.key else { return Ok(None) };
        let text = secret(setting, written, environment)?;
        Ok(Some(CheckpointKey::from_text(&text).context(*setting)?))
    }

    /// Whether both say the same key, wherever each says it.
    pub fn same_key(&self, other: &Self) -> bool {
        let written = |of: &Self| of.key.as_ref().map(|(_, key)| key.expose_secret().to_owned());
        written(self) == written(other)
    }
}
