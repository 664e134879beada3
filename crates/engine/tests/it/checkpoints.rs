//! Checkpoints outside of the database: a removed tail shows, and so does an edited
//! checkpoint.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use domain::{AccountId, Timestamp};
use engine::checkpoints::{self, Chains, Checkpoint, CheckpointFault, CheckpointReport, Found, NotKept};
use engine::{CheckpointKey, Engine, Upkeep, Witness};
use gateways::stripe::sample::Sampler;
use secrecy::SecretString;
use store::ChainHead;

use crate::it::scratch::{NOW, Scratch, about};

fn key(text: &str) -> CheckpointKey {
    CheckpointKey::from_text(&SecretString::from(text)).expect("it is long enough")
}

fn secret() -> CheckpointKey {
    key("0123456789abcdef0123456789abcdef")
}

async fn newest(db: &Scratch) -> Option<ChainHead> {
    db.chain_heads(&AccountId::default()).await.expect("it reads").pop()
}

/// A chain of so many links more.
async fn went_on(db: &Scratch, links: u64) {
    let head = newest(db).await.map_or(0, |head| head.number.unsigned_abs());
    for number in head..head + links {
        let event = about(&mut Sampler::new(number), "payment_intent.succeeded", &format!("pi_{number}"));
        db.accepted(&[event], NOW).await;
    }
}

/// As somebody does who has the database and knows it well.
async fn remove_links_after(db: &Scratch, batch: i64) {
    let removal = format!(
        "DELETE FROM event_body WHERE seq IN (SELECT seq FROM event WHERE batch > {batch});
         DELETE FROM event WHERE batch > {batch}; DELETE FROM batch WHERE number > {batch};"
    );
    db.database().execute(&removal).await;
    if db.database().is_postgres() {
        let heads = format!(
            "UPDATE chain_head h SET number = b.number, hash = b.hash FROM batch b
             WHERE b.account = h.account AND b.writer = h.writer AND b.number = {batch};
             DELETE FROM chain_head WHERE number > {batch};"
        );
        db.database().execute(&heads).await;
    }
}

async fn checked(db: &Scratch, lines: &str, key: Option<&CheckpointKey>) -> CheckpointReport {
    let lines = checkpoints::read(lines.as_bytes()).expect("it reads");
    checkpoints::check(db, &lines, key).await.expect("it checks")
}

/// The only checkpoint there is now, as a line.
async fn line(db: &Scratch, key: Option<&CheckpointKey>) -> String {
    let found = checkpoints::current(db, key, NOW).await.expect("it reads");
    assert_eq!(found.len(), 1);
    format!("{}\n", found[0].json())
}

fn default_account() -> (AccountId, String) {
    (AccountId::default(), store::CHAIN_WRITER.to_owned())
}

#[tokio::test]
async fn a_removed_tail_is_missed_by_who_saw_it_and_by_nobody_else() {
    let db = Scratch::new().await;
    went_on(&db, 3).await;
    let third = line(&db, Some(&secret())).await;
    went_on(&db, 4).await;
    let seventh = line(&db, Some(&secret())).await;
    let both = format!("{third}{seventh}");
    let fine = CheckpointReport { checkpoints: 2, signed: 2, ..Default::default() };
    assert_eq!(checked(&db, &both, Some(&secret())).await, fine);
    remove_links_after(&db, 3).await;
    assert_eq!(db.verify_chain(&AccountId::default()).await.unwrap().faults, [], "what is left is sound by itself");
    assert_eq!(checked(&db, &third, Some(&secret())).await.faults, []);
    let (account, writer) = default_account();
    let gone = CheckpointFault::TailMissing { line: 2, account, writer, first: 4, last: 7 };
    assert_eq!(checked(&db, &both, Some(&secret())).await.faults, std::slice::from_ref(&gone));
    assert_eq!(gone.to_string(), "default: batches 4 to 7 are missing at the chain's end; line 2 saw the last");

    let others = ["pi_a", "pi_b", "pi_c", "pi_d", "pi_e"];
    for (seed, intent) in (100..).zip(others) {
        db.accepted(&[about(&mut Sampler::new(seed), "payment_intent.succeeded", intent)], NOW).await;
    }
    assert_eq!(db.verify_chain(&AccountId::default()).await.unwrap().faults, [], "nor does it show when it went on");
    let (account, writer) = default_account();
    let replaced = CheckpointFault::LinkReplaced { line: 2, account, writer, batch: 7 };
    assert_eq!(checked(&db, &both, Some(&secret())).await.faults, [replaced]);
}

#[tokio::test]
async fn everything_removed_is_missed_too() {
    let db = Scratch::new().await;
    went_on(&db, 2).await;
    let second = line(&db, None).await;
    remove_links_after(&db, 0).await;
    assert_eq!(db.accounts().await.unwrap(), []);
    let (account, writer) = default_account();
    let gone = CheckpointFault::TailMissing { line: 1, account, writer, first: 1, last: 2 };
    assert_eq!(checked(&db, &second, None).await.faults, [gone]);
}

#[tokio::test]
async fn links_that_are_gone_from_within_are_named_one_by_one() {
    let db = Scratch::new().await;
    let mut lines = String::new();
    for _ in 0..4 {
        went_on(&db, 1).await;
        lines.push_str(&line(&db, None).await);
    }
    db.tamper("DELETE FROM batch WHERE number IN (1, 3)").await;
    let missing = |line, batch| {
        let (account, writer) = default_account();
        CheckpointFault::LinkMissing { line, account, writer, batch }
    };
    assert_eq!(checked(&db, &lines, None).await.faults, [missing(1, 1), missing(3, 3)]);
}

#[tokio::test]
async fn what_is_missed_of_another_writer_says_whose_chain_it_is() {
    let db = Scratch::new().await;
    went_on(&db, 3).await;
    let other = line(&db, None).await.replace("\"writer\":\"main\"", "\"writer\":\"main-1\"");
    let faults = checked(&db, &other, None).await.faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        faults[0].to_string(),
        "default, writer main-1: batches 1 to 3 are missing at the chain's end; line 1 saw the last"
    );
}

#[tokio::test]
async fn a_checkpoint_that_was_edited_or_made_up_is_found() {
    let db = Scratch::new().await;
    went_on(&db, 3).await;
    let third = line(&db, Some(&secret())).await;
    let other = line(&db, Some(&key("fedcba9876543210fedcba9876543210"))).await;
    let value: serde_json::Value = serde_json::from_str(&third).unwrap();
    let second = db.link_hash(&AccountId::default(), store::CHAIN_WRITER, 2).await.unwrap().expect("it is there");
    let edits = [
        ("account", serde_json::json!("other")),
        ("writer", "other".into()),
        ("batch", 2.into()),
        ("hash", second.into()),
        ("signed_at", "2025-11-20T16:00:01Z".into()),
        ("signature", "0".repeat(64).into()),
        ("signature", "".into()),
    ];
    for (field, put) in edits {
        let mut edited = value.clone();
        edited[field] = put;
        let report = checked(&db, &format!("{edited}\n"), Some(&secret())).await;
        assert!(
            matches!(report.faults[..], [CheckpointFault::SignatureWrong { line: 1, .. }]),
            "{field}: {:?}",
            report.faults
        );
        assert_eq!((report.checkpoints, report.signed), (1, 0), "{field}");
    }
    let report = checked(&db, &format!("{third}{other}"), Some(&secret())).await;
    let wrong = CheckpointFault::SignatureWrong { line: 2, account: AccountId::default(), batch: 3 };
    assert_eq!((report.signed, report.faults), (1, vec![wrong]));
}

#[tokio::test]
async fn unsigned_ones_are_counted_and_looked_at_all_the_same() {
    let db = Scratch::new().await;
    went_on(&db, 2).await;
    let (signed, unsigned) = (line(&db, Some(&secret())).await, line(&db, None).await);
    let both = format!("{signed}{unsigned}");
    let with_key = CheckpointReport { checkpoints: 2, signed: 1, unsigned: 1, ..Default::default() };
    assert_eq!(checked(&db, &both, Some(&secret())).await, with_key);
    let without = CheckpointReport { checkpoints: 2, unchecked: 1, unsigned: 1, ..Default::default() };
    assert_eq!(checked(&db, &both, None).await, without);
    remove_links_after(&db, 1).await;
    for key in [Some(secret()), None] {
        let faults = checked(&db, &unsigned, key.as_ref()).await.faults;
        assert!(matches!(faults[..], [CheckpointFault::TailMissing { first: 2, last: 2, .. }]), "{faults:?}");
    }
}

/// The signature is of the text that docs/using.md describes, made by another program.
#[tokio::test]
async fn what_is_signed_is_what_the_documents_say() {
    let checkpoint = Checkpoint {
        account: AccountId::default(),
        writer: "main".to_owned(),
        batch: 7,
        hash: "ab".repeat(32),
        signed_at: Timestamp::from_micros(1_763_654_400_250_000),
        signature: Some("31d0e8424d1301c49f9de392cb017aebcae23c941ba43a6c2ba16e0dbee604cd".to_owned()),
    };
    let text = checkpoint.json().to_string();
    let lines = checkpoints::read(text.as_bytes()).unwrap();
    assert_eq!(lines[0].found, Found::Checkpoint(checkpoint));
    assert!(text.contains("\"signed_at\":\"2025-11-20T16:00:00.25Z\""), "{text}");
    let db = Scratch::new().await;
    assert_eq!(checked(&db, &text, Some(&secret())).await.signed, 1);
}

#[test]
fn a_key_that_can_be_guessed_is_refused_and_none_is_shown() {
    for short in ["", "fifteen bytes..", "x"] {
        assert!(CheckpointKey::from_text(&SecretString::from(short)).is_err(), "{short:?}");
    }
    assert!(!format!("{:?}", secret()).contains("0123"));
}

#[test]
fn what_is_no_checkpoint_is_passed_over_and_what_is_half_one_is_named() {
    let whole = format!(
        r#"{{"timestamp":"2025-11-20T16:00:00Z","level":"INFO","message":"Chain checkpoint","account":"default","writer":"main","batch":1,"hash":"{}","signed_at":"2025-11-20T16:00:00Z"}}"#,
        "0".repeat(64)
    );
    let malformed = [
        whole.replace("\"batch\":1", "\"batch\":0"),
        whole.replace("\"batch\":1", "\"batch\":\"1\""),
        whole.replace("default", "no account"),
        whole.replace("0000", "00"),
        whole.replace("0000", "00ZZ"),
        whole.replace("T16:00:00Z\"}", "\"}"),
        whole.replace("\"writer\":\"main\"", "\"writer\":null"),
        whole.replace("\"level\":\"INFO\"", "\"signature\":7"),
    ];
    let other =
        ["", "{}", "not JSON, signed_at", "[1]", r#"{"signed_at":"2025-11-20T16:00:00Z","batch":1}"#, &whole[..99]];
    let text = format!("{}\n{}\n{whole}\r\n", other.join("\n"), malformed.join("\n"));
    let mut bytes = text.into_bytes();
    bytes.splice(0..0, *b"\xff signed_at\n");
    let lines = checkpoints::read(&bytes[..]).unwrap();
    let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
    assert_eq!(numbers, (8..=16).collect::<Vec<_>>());
    let (last, before) = lines.split_last().expect("some");
    assert!(before.iter().all(|line| line.found == Found::Malformed), "{before:?}");
    assert!(matches!(&last.found, Found::Checkpoint(checkpoint) if checkpoint.signature.is_none()), "{last:?}");
}

fn file_in(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("checkpoints.jsonl")
}

#[tokio::test]
async fn a_chain_that_did_not_go_on_gets_no_further_checkpoint() {
    let (db, folder) = (Scratch::new().await, tempfile::tempdir().unwrap());
    let mut witness = Witness::new(Some(secret()), Some(file_in(&folder))).unwrap();
    assert_eq!(witness.keep(&db, Chains::All, NOW).await.unwrap(), 0, "no chain, no checkpoint");
    went_on(&db, 2).await;
    let mut kept = Vec::new();
    for chains in [Chains::Moved, Chains::Moved, Chains::All] {
        kept.push(witness.keep(&db, chains, NOW).await.unwrap());
    }
    went_on(&db, 1).await;
    kept.push(witness.keep(&db, Chains::Moved, NOW).await.unwrap());
    remove_links_after(&db, 2).await;
    kept.push(witness.keep(&db, Chains::Moved, NOW).await.unwrap());
    assert_eq!(kept, [1, 0, 1, 1, 1]);
    let text = std::fs::read_to_string(file_in(&folder)).unwrap();
    let batches: Vec<String> =
        text.lines().map(|line| line.split("\"batch\":").nth(1).unwrap()[..1].to_owned()).collect();
    assert_eq!(batches, ["2", "2", "3", "2"]);
    let report = checked(&db, &text, Some(&secret())).await;
    assert!(matches!(report.faults[..], [CheckpointFault::TailMissing { line: 3, .. }]), "{:?}", report.faults);
}

#[tokio::test]
async fn the_file_is_its_owners_and_only_grows_by_whole_lines() {
    let (db, folder) = (Scratch::new().await, tempfile::tempdir().unwrap());
    let file = file_in(&folder);
    let mut witness = Witness::new(None, Some(file.clone())).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    went_on(&db, 1).await;
    std::fs::write(&file, "{\"account\":\"def").unwrap(); // As a full disk leaves it.
    witness.keep(&db, Chains::All, NOW).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("{\"account\":\"def\n{") && text.ends_with("}\n") && text.lines().count() == 2, "{text}");
    assert_eq!(checked(&db, &text, None).await.unsigned, 1);

    std::fs::rename(&file, folder.path().join("checkpoints.1")).unwrap();
    std::fs::create_dir(&file).unwrap();
    went_on(&db, 1).await;
    let failed = witness.keep(&db, Chains::Moved, NOW).await;
    assert!(matches!(&failed, Err(NotKept::File { path, .. }) if *path == file), "{failed:?}");
    std::fs::remove_dir(&file).unwrap();
    assert_eq!(witness.keep(&db, Chains::Moved, NOW).await.unwrap(), 1, "it stayed due");
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
    assert!(Witness::new(None, Some(folder.path().to_owned())).is_err());
}

#[tokio::test]
async fn an_engine_that_stops_keeps_a_checkpoint_of_all_that_it_stored() {
    let (db, folder) = (Scratch::new().await, tempfile::tempdir().unwrap());
    went_on(&db, 1).await;
    let witness = Witness::new(Some(secret()), Some(file_in(&folder))).unwrap();
    let engine = Engine::start_with(db.clone(), db.clock.clone(), Upkeep { witness, ..Upkeep::default() });
    let event = about(&mut Sampler::new(99), "payment_intent.succeeded", "pi_99");
    engine.intake().submit(event).await.expect("it is stored");
    engine.stop().await;
    let lines = checkpoints::read(std::fs::read(file_in(&folder)).unwrap().as_slice()).unwrap();
    let Found::Checkpoint(last) = &lines.last().expect("one").found else { panic!("{lines:?}") };
    let head = newest(&db).await.expect("a chain");
    assert_eq!((head.number, last.batch, &last.hash), (2, 2, &head.hash));
    let report = checkpoints::check(&db, &lines, Some(&secret())).await.unwrap();
    assert_eq!((report.signed, report.faults.len()), (lines.len() as u64, 0));
}
