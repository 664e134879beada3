//! Databases of the proof's own, and how their process dies.

use std::fs::{self, File};
use std::path::Path;

use store::Store;
use tempfile::TempDir;

use super::Error;

const DATABASE: &str = "prove.db";
const LOG: &str = "prove.db-wal";

/// An empty database of this version, to copy.
pub(super) struct Template {
    directory: TempDir,
}

impl Template {
    pub(super) async fn make() -> Result<Self, Error> {
        let directory = tempfile::tempdir()?;
        let store = open(directory.path()).await?;
        store.migrate().await?;
        store.checkpoint().await?;
        store.close().await;
        Ok(Self { directory })
    }
}

/// A database that lives as long as this.
pub(super) struct Scratch {
    directory: TempDir,
    store: Store,
}

impl Scratch {
    pub(super) async fn of(template: &Template) -> Result<Self, Error> {
        Self::copied(template.directory.path()).await
    }

    async fn copied(from: &Path) -> Result<Self, Error> {
        let directory = tempfile::tempdir()?;
        for name in [DATABASE, LOG] {
            if from.join(name).exists() {
                fs::copy(from.join(name), directory.path().join(name))?;
            }
        }
        let store = open(directory.path()).await?;
        Ok(Self { directory, store })
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// What another process finds when this one dies now: the files as they are, with a
    /// log that nobody closed. Whatever was in memory is gone.
    pub(super) async fn crashed(self) -> Result<Self, Error> {
        let next = Self::copied(self.directory.path()).await?;
        self.discard().await;
        Ok(next)
    }

    pub(super) async fn discard(self) {
        self.store.close().await;
        // A store keeps a descriptor of its database for good: what is deleted alone would
        // keep its room on the disk until this process ends.
        if let Ok(database) = File::options().write(true).open(self.directory.path().join(DATABASE)) {
            let _ = database.set_len(0);
        }
    }
}

async fn open(directory: &Path) -> Result<Store, Error> {
    Ok(Store::open(&format!("sqlite:{}", directory.join(DATABASE).display())).await?)
}
