//! Checkpoints of the hash chains: where each of them ended at an instant, signed, and
//! kept outside of the database, so that links which are removed from a chain's end are
//! missed there.

mod audit;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use domain::{AccountId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use store::{ChainHead, Store};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::Clock;

pub use audit::{CheckpointFault, CheckpointReport, Found, Line, check, read};

/// Between two looks at whether a chain went on. What is removed within it, before the
/// next checkpoint, is not missed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);
/// A shorter key could be guessed from one signature.
pub const KEY_BYTES_MIN: usize = 16;
/// Its owner reads and writes it.
const FILE_MODE: u32 = 0o600;
/// Says what is signed, so that a signature made for something else never fits.
const PURPOSE: &str = "quittance chain checkpoint 1";

/// Where one of an account's chains ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub account: AccountId,
    pub writer: String,
    /// The number of the newest link.
    pub batch: i64,
    /// The newest link's, in hex.
    pub hash: String,
    pub signed_at: Timestamp,
    /// HMAC-SHA256 in hex; nothing where there is no key.
    pub signature: Option<String>,
}

impl Checkpoint {
    /// As a line of a file of checkpoints.
    pub fn json(&self) -> serde_json::Value {
        let Self { account, writer, batch, hash, signed_at, signature } = self;
        serde_json::json!({
            "account": account, "writer": writer, "batch": batch, "hash": hash, "signed_at": signed_at.to_string(),
            "signature": signature,
        })
    }

    /// What is signed: each field with its length before it, so that no two checkpoints
    /// share a text.
    fn text(&self) -> String {
        let (batch, signed_at) = (self.batch.to_string(), self.signed_at.to_string());
        let fields = [PURPOSE, self.account.as_str(), &self.writer, &batch, &self.hash, &signed_at];
        fields.iter().map(|field| format!("{}:{field}\n", field.len())).collect()
    }
}

/// Signs checkpoints. Shows nothing of itself.
#[derive(Clone)]
pub struct CheckpointKey(hmac::Key);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of less than {KEY_BYTES_MIN} bytes can be guessed: take 32 random ones, in hex")]
pub struct KeyTooShort;

impl CheckpointKey {
    /// The text's bytes as they are.
    pub fn from_text(text: &SecretString) -> Result<Self, KeyTooShort> {
        let bytes = text.expose_secret().as_bytes();
        if bytes.len() < KEY_BYTES_MIN {
            return Err(KeyTooShort);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    fn signature(&self, checkpoint: &Checkpoint) -> String {
        let tag = hmac::sign(&self.0, checkpoint.text().as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn made(&self, signature: &str, checkpoint: &Checkpoint) -> bool {
        let right = self.signature(checkpoint);
        constant_time::verify_slices_are_equal(right.as_bytes(), signature.as_bytes()).is_ok()
    }
}

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CheckpointKey(…)")
    }
}

/// A checkpoint of each chain of each account, as it stands now.
pub async fn current(store: &Store, key: Option<&CheckpointKey>, now: Timestamp) -> store::Result<Vec<Checkpoint>> {
    let mut checkpoints = Vec::new();
    for account in store.accounts().await? {
        for ChainHead { writer, number: batch, hash } in store.chain_heads(&account).await? {
            let account = account.clone();
            let mut checkpoint = Checkpoint { account, writer, batch, hash, signed_at: now, signature: None };
            checkpoint.signature = key.map(|key| key.signature(&checkpoint));
            checkpoints.push(checkpoint);
        }
    }
    Ok(checkpoints)
}

/// Of which chains to keep a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chains {
    All,
    /// Those that end elsewhere than at their last checkpoint.
    Moved,
}

/// Keeps checkpoints where the database's owner need not reach: in the log, and in a
/// file where there is one.
#[derive(Debug, Default)]
pub struct Witness {
    key: Option<CheckpointKey>,
    file: Option<PathBuf>,
    /// Where each chain ended at its last checkpoint.
    seen: BTreeMap<(AccountId, String), (i64, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: std::io::Error },
}

impl Witness {
    /// Signs with `key`, and appends to `file`, which is made where it is not there.
    /// Fails where it cannot be written.
    pub fn new(key: Option<CheckpointKey>, file: Option<PathBuf>) -> std::io::Result<Self> {
        if let Some(path) = &file {
            append(path, "")?;
        }
        Ok(Self { key, file, seen: BTreeMap::new() })
    }

    /// Logs a checkpoint of each chain that one is due for, and appends it to the file.
    /// Returns how many there were. One that did not get into the file stays due.
    pub async fn keep(&mut self, store: &Store, chains: Chains, now: Timestamp) -> Result<usize, NotKept> {
        let mut checkpoints = current(store, self.key.as_ref(), now).await?;
        if chains == Chains::Moved {
            checkpoints.retain(|now| {
                let last = self.seen.get(&(now.account.clone(), now.writer.clone()));
                last.is_none_or(|(batch, hash)| (*batch, hash) != (now.batch, &now.hash))
            });
        }
        for Checkpoint { account, writer, batch, hash, signed_at, signature } in &checkpoints {
            let signature = signature.as_deref();
            tracing::info!(%account, writer, batch, hash, %signed_at, signature, "Chain checkpoint");
        }
        if let Some(path) = self.file.clone().filter(|_| !checkpoints.is_empty()) {
            let lines: String = checkpoints.iter().map(|checkpoint| format!("{}\n", checkpoint.json())).collect();
            let into = path.clone();
            let appended = tokio::task::spawn_blocking(move || append(&into, &lines)).await;
            let appended = appended.map_err(std::io::Error::other).flatten();
            appended.map_err(|error| NotKept::File { path, error })?;
        }
        let kept = checkpoints.len();
        self.seen.extend(checkpoints.into_iter().map(|kept| ((kept.account, kept.writer), (kept.batch, kept.hash))));
        Ok(kept)
    }
}

/// Appends whole lines and returns once they are on disk. Opened anew each time, so that
/// the file may be moved away meanwhile.
fn append(path: &Path, lines: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(path)?;
    let is_new = file.metadata()?.len() == 0;
    let torn = !is_new && !ends_a_line(&mut file)?; // By a crash or a full disk.
    let lines = if torn { format!("\n{lines}") } else { lines.to_owned() };
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    if is_new {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?; // Its name, too.
    }
    Ok(())
}

fn ends_a_line(file: &mut File) -> std::io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Keeps a checkpoint of each chain at once, then of those that went on, and of each
/// when everything that was submitted is `stored`; then it ends.
pub(crate) async fn run(store: Store, clock: Clock, mut witness: Witness, mut stored: oneshot::Receiver<()>) {
    let mut due = tokio::time::interval(CHECKPOINT_INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut chains = Chains::All;
    loop {
        let ended = tokio::select! {
            _ = &mut stored => true,
            _ = due.tick() => false,
        };
        let kept = witness.keep(&store, if ended { Chains::All } else { chains }, clock.now()).await;
        match kept {
            Ok(_) => chains = Chains::Moved,
            Err(error) => {
                tracing::warn!(%error, "No checkpoint of the hash chain was kept; the next one makes up for it")
            }
        }
        if ended {
            return;
        }
    }
}
