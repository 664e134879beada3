//! Holding chains against the checkpoints that were kept of them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;

use domain::{AccountId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use store::Store;

use super::{Checkpoint, CheckpointKey};

/// A SHA-256 in hex.
const HASH_LEN: usize = 64;

/// A line that is a checkpoint, or claims to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its place in what was read, from 1.
    pub number: u64,
    pub found: Found,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Checkpoint(Checkpoint),
    /// It has a checkpoint's fields, and one of them holds something else.
    Malformed,
}

/// The checkpoints among lines of JSON, like those of a log. Other lines are passed over.
pub fn read(mut input: impl BufRead) -> std::io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        if input.read_until(b'\n', &mut text)? == 0 {
            break;
        }
        lines.extend(found(&text).map(|found| Line { number, found }));
    }
    Ok(lines)
}

fn found(text: &[u8]) -> Option<Found> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.contains("signed_at"))?; // Logs may be long.
    let value: Value = serde_json::from_str(text).ok()?;
    let fields = ["account", "writer", "batch", "hash", "signed_at"].map(|name| value.get(name));
    let [Some(account), Some(writer), Some(batch), Some(hash), Some(signed_at)] = fields else { return None };
    let checkpoint = || {
        Some(Checkpoint {
            account: AccountId::parse(account.as_str()?)?,
            writer: writer.as_str()?.to_owned(),
            batch: batch.as_i64().filter(|batch| *batch > 0)?,
            hash: hash.as_str().filter(|hash| is_hash(hash))?.to_owned(),
            signed_at: Timestamp::parse(signed_at.as_str()?)?,
            signature: match value.get("signature") {
                None | Some(Value::Null) => None,
                Some(signature) => Some(signature.as_str()?.to_owned()),
            },
        })
    };
    Some(checkpoint().map_or(Found::Malformed, Found::Checkpoint))
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_LEN && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Where a chain and a checkpoint of it disagree. `line` is the checkpoint's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum CheckpointFault {
    /// It has a checkpoint's fields, and cannot be read as one.
    Malformed { line: u64 },
    /// It was edited, or signed with another key. What it says is not looked at.
    SignatureWrong { line: u64, account: AccountId, batch: i64 },
    /// Links at the chain's end, `first` to `last`, are gone. `line` saw the last one.
    TailMissing { line: u64, account: AccountId, writer: String, first: i64, last: i64 },
    /// A link is gone that others follow.
    LinkMissing { line: u64, account: AccountId, writer: String, batch: i64 },
    /// The link of that number is another one.
    LinkReplaced { line: u64, account: AccountId, writer: String, batch: i64 },
}

/// The account, and which of its chains where it is not the first.
struct ChainName<'a>(&'a AccountId, &'a str);

impl fmt::Display for ChainName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            store::CHAIN_WRITER => write!(f, "{}", self.0),
            writer => write!(f, "{}, writer {writer}", self.0),
        }
    }
}

impl fmt::Display for CheckpointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { line } => write!(f, "line {line} has a checkpoint's fields and cannot be read as one"),
            Self::SignatureWrong { line, account, batch } => {
                write!(
                    f,
                    "line {line}, {account}: the checkpoint of batch {batch} was edited or signed with another key"
                )
            }
            Self::TailMissing { line, account, writer, first, last } if first == last => {
                let chain = ChainName(account, writer);
                write!(f, "{chain}: batch {last}, which line {line} saw, is missing at the chain's end")
            }
            Self::TailMissing { line, account, writer, first, last } => {
                let chain = ChainName(account, writer);
                write!(f, "{chain}: batches {first} to {last} are missing at the chain's end; line {line} saw the last")
            }
            Self::LinkMissing { line, account, writer, batch } => {
                let chain = ChainName(account, writer);
                write!(f, "{chain}: batch {batch}, which line {line} saw, is missing")
            }
            Self::LinkReplaced { line, account, writer, batch } => {
                let chain = ChainName(account, writer);
                write!(f, "{chain}: batch {batch} is another one than line {line} saw")
            }
        }
    }
}

/// What came of holding chains against checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckpointReport {
    pub checkpoints: u64,
    /// Those whose signature is right.
    pub signed: u64,
    pub unsigned: u64,
    /// Those whose signature was not checked, for want of a key.
    pub unchecked: u64,
    pub faults: Vec<CheckpointFault>,
}

/// Checks each signature where there is a key, and that each link which a checkpoint saw
/// is in the chain with that very hash. An unsigned checkpoint counts as it stands.
pub async fn check(store: &Store, lines: &[Line], key: Option<&CheckpointKey>) -> store::Result<CheckpointReport> {
    let mut report = CheckpointReport::default();
    let mut missing: BTreeMap<(&AccountId, &str), Vec<(i64, u64)>> = BTreeMap::new();
    for Line { number: line, found } in lines {
        report.checkpoints += 1;
        let (line, Found::Checkpoint(checkpoint)) = (*line, found) else {
            report.faults.push(CheckpointFault::Malformed { line: *line });
            continue;
        };
        let Checkpoint { account, writer, batch, .. } = checkpoint;
        match (&checkpoint.signature, key) {
            (None, _) => report.unsigned += 1,
            (Some(_), None) => report.unchecked += 1,
            (Some(signature), Some(key)) if key.made(signature, checkpoint) => report.signed += 1,
            (Some(_), Some(_)) => {
                let (account, batch) = (account.clone(), *batch);
                report.faults.push(CheckpointFault::SignatureWrong { line, account, batch });
                continue;
            }
        }
        match store.link_hash(account, writer, *batch).await? {
            Some(hash) if hash == checkpoint.hash => {}
            Some(_) => {
                let (account, writer, batch) = (account.clone(), writer.clone(), *batch);
                report.faults.push(CheckpointFault::LinkReplaced { line, account, writer, batch });
            }
            None => missing.entry((account, writer)).or_default().push((*batch, line)),
        }
    }
    for ((account, writer), links) in missing {
        report.faults.extend(missing_links(store, account, writer, links).await?);
    }
    Ok(report)
}

/// Those at the chain's end make one fault.
async fn missing_links(
    store: &Store,
    account: &AccountId,
    writer: &str,
    links: Vec<(i64, u64)>,
) -> store::Result<Vec<CheckpointFault>> {
    let heads = store.chain_heads(account).await?;
    let head = heads.iter().find(|head| head.writer == writer).map_or(0, |head| head.number);
    let (tail, within): (Vec<_>, Vec<_>) = links.into_iter().partition(|(batch, _)| *batch > head);
    let named = || (account.clone(), writer.to_owned());
    let mut faults = Vec::new();
    for (batch, line) in within {
        let (account, writer) = named();
        faults.push(CheckpointFault::LinkMissing { line, account, writer, batch });
    }
    if let Some((last, line)) = tail.into_iter().max() {
        let (account, writer) = named();
        faults.push(CheckpointFault::TailMissing { line, account, writer, first: head + 1, last });
    }
    Ok(faults)
}
