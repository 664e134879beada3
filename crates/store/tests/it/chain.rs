//! The hash chain: it holds, and what was done to the database shows.

use store::{CHAIN_WRITER, ChainFault, ChainHead, ChainReport, NewEvent};

use crate::scratch::{NOW, Scratch, account, at, succeeded, unrelated};

on_each!(
    an_empty_chain_holds,
    the_chain_holds_over_many_batches,
    the_chain_does_not_mind_what_happens_to_events,
    whatever_is_done_to_it_is_named,
    accounts_have_chains_of_their_own,
    each_link_can_be_looked_up,
    chains_of_several_writers_hold_each_by_itself,
);

/// Ten batches of three events; in every third a rendering of an earlier event too.
async fn ten_batches(db: &Scratch) {
    for number in 0..10 {
        let mut batch: Vec<NewEvent> = (0..3).map(|n| succeeded(&format!("evt_{number}_{n}"), "pi_1", "")).collect();
        if number % 3 == 1 {
            let mut rendering = succeeded(&format!("evt_{}_0", number - 1), "pi_1", "");
            rendering.api_version = Some("2019-05-16".to_owned());
            batch.push(rendering);
        }
        db.accepting(&batch, at(number)).await.unwrap();
    }
}

async fn report(db: &Scratch) -> ChainReport {
    db.verify_chain(&account("default")).await.unwrap()
}

async fn heads(db: &Scratch) -> Vec<ChainHead> {
    db.chain_heads(&account("default")).await.unwrap()
}

/// The chain of those who accept one after the other.
fn main() -> String {
    CHAIN_WRITER.to_owned()
}

async fn an_empty_chain_holds(db: Scratch) {
    assert_eq!(report(&db).await, ChainReport::default());
    assert_eq!(heads(&db).await, []);
}

async fn the_chain_holds_over_many_batches(db: Scratch) {
    ten_batches(&db).await;
    assert_eq!(report(&db).await, ChainReport { batches: 10, events: 33, faults: vec![] });
    let [ChainHead { writer, number, hash }] = &heads(&db).await[..] else { panic!("one chain") };
    assert_eq!((writer.as_str(), *number, hash.len()), (CHAIN_WRITER, 10, 64), "{hash}");
    for number in 0..450 {
        db.accepting(&[unrelated(&format!("evt_{number}"))], at(number)).await.unwrap();
    }
    assert_eq!(report(&db).await, ChainReport { batches: 460, events: 483, faults: vec![] }, "over several pages");
    let other = db.opened_again().await;
    other.accept(vec![unrelated("evt_other")], NOW).await.unwrap();
    assert_eq!(report(&db).await.faults, [], "another process goes on where this one was");
}

async fn the_chain_does_not_mind_what_happens_to_events(db: Scratch) {
    ten_batches(&db).await;
    db.applied(at(60)).await;
    db.replay_events(&Default::default(), at(61)).await.unwrap();
    db.tamper("UPDATE event SET state = 'dead', due_at = NULL, attempts = 12, error = 'x' WHERE seq < 5").await;
    db.accepted(&[succeeded("evt_0_0", "pi_1", "")]).await;
    assert_eq!(report(&db).await.faults, []);
    db.tamper("DELETE FROM event_body WHERE seq < 9").await;
    assert_eq!(report(&db).await.faults, [], "bodies may go by age; their hashes stay");
}

async fn whatever_is_done_to_it_is_named(db: Scratch) {
    let altered =
        |number: i64, first_seq, last_seq| ChainFault::BatchAltered { writer: main(), number, first_seq, last_seq };
    let missing = |after| ChainFault::BatchMissing { writer: main(), after };
    let unlinked = |number| ChainFault::BatchUnlinked { writer: main(), number };
    let of_batch = |number: i64| {
        let renders = number % 3 == 2; // An event of the batch before it.
        altered(number, if renders { number * 3 - 5 } else { number * 3 - 2 }, number * 3)
    };
    let body = |event_id: &str| ChainFault::BodyAltered { event_id: event_id.to_owned() };
    let outside =
        |count, first_seq, last_seq| ChainFault::EventsUnlinked { writer: main(), count, first_seq, last_seq };
    let copy = |seq: i64, batch: i64| {
        format!(
            "INSERT INTO event SELECT {seq}, account, 'evt_forged', gateway, mode, connected_account, endpoint, event_type,
                api_version, gateway_time, creates, source, received_at, settled_at, state, due_at, attempts, error, writer,
                {batch}, body_hash, holds_mismatch FROM event WHERE seq = 1"
        )
    };
    let cases: Vec<(&str, String, Vec<ChainFault>)> = vec![
        ("a body", "UPDATE event_body SET body = x'7b7d' WHERE seq = 7".to_owned(), vec![body("evt_2_0")]),
        (
            "a body and its hash",
            "UPDATE event SET body_hash = zeroblob(32) WHERE seq = 7".to_owned(),
            vec![body("evt_2_0"), of_batch(3)],
        ),
        ("a rendering", "UPDATE event_rendering SET body = x'7b7d' WHERE seq = 1".to_owned(), vec![body("evt_0_0")]),
        ("a rendering is gone", "DELETE FROM event_rendering WHERE seq = 1".to_owned(), vec![altered(2, 4, 6)]),
        ("a time", "UPDATE event SET received_at = received_at + 1 WHERE seq = 4".to_owned(), vec![of_batch(2)]),
        ("a type", "UPDATE event SET event_type = 'charge.failed' WHERE seq = 5".to_owned(), vec![of_batch(2)]),
        ("a mode", "UPDATE event SET mode = 'live' WHERE seq = 6".to_owned(), vec![of_batch(2)]),
        ("an endpoint", "UPDATE event SET endpoint = '/elsewhere' WHERE seq = 6".to_owned(), vec![of_batch(2)]),
        ("a version", "UPDATE event SET api_version = NULL WHERE seq = 6".to_owned(), vec![of_batch(2)]),
        ("an event is gone", "DELETE FROM event WHERE seq = 8".to_owned(), vec![altered(3, 7, 9)]),
        ("the last event is gone", "DELETE FROM event WHERE seq = 30".to_owned(), vec![altered(10, 28, 29)]),
        ("an event is put in", copy(99, 4), vec![altered(4, 10, 99)]),
        ("an event before the chain", copy(99, 0), vec![outside(1, 99, 99)]),
        ("an event after the chain", copy(99, 4711), vec![outside(1, 99, 99)]),
        (
            "an event moves on",
            "UPDATE event SET batch = 6 WHERE seq = 15".to_owned(),
            vec![altered(5, 10, 14), altered(6, 15, 18)],
        ),
        (
            "a batch is gone",
            "DELETE FROM batch WHERE number = 4".to_owned(),
            vec![missing(3), unlinked(5), altered(5, 10, 15)],
        ),
        (
            "the first batch is gone",
            "DELETE FROM batch WHERE number = 1".to_owned(),
            vec![missing(0), unlinked(2), altered(2, 1, 6)],
        ),
        ("the last batch is gone", "DELETE FROM batch WHERE number = 10".to_owned(), vec![outside(3, 28, 30)]),
        ("all batches are gone", "DELETE FROM batch".to_owned(), vec![outside(33, 1, 30)]),
        (
            "a batch's hash",
            "UPDATE batch SET hash = zeroblob(32) WHERE number = 9".to_owned(),
            vec![of_batch(9), unlinked(10), of_batch(10)],
        ),
        (
            "a batch's time",
            "UPDATE batch SET committed_at = committed_at - 1 WHERE number = 1".to_owned(),
            vec![of_batch(1)],
        ),
    ];
    for (name, sql, expected) in cases {
        let db = Scratch::sqlite().await;
        ten_batches(&db).await;
        assert!(db.tamper(&sql).await > 0, "{name}");
        let mut faults = report(&db).await.faults;
        if name == "a batch is gone" || name == "the first batch is gone" || name == "the last event is gone" {
            faults.retain(|fault| !matches!(fault, ChainFault::EventsUnlinked { .. }));
        }
        assert_eq!(faults, expected, "{name}");
    }
    drop(db);
}

async fn accounts_have_chains_of_their_own(db: Scratch) {
    for name in ["a", "b"] {
        for number in 0..3 {
            let mut event = unrelated(&format!("evt_{number}"));
            event.account = account(name);
            db.accepted(&[event]).await;
        }
    }
    db.tamper("DELETE FROM event WHERE account = 'a' AND event_id = 'evt_1'").await;
    let faults = db.verify_chain(&account("a")).await.unwrap().faults;
    assert_eq!(faults, [ChainFault::BatchAltered { writer: main(), number: 2, first_seq: 0, last_seq: 0 }]);
    assert_eq!(db.verify_chain(&account("b")).await.unwrap(), ChainReport { batches: 3, events: 3, faults: vec![] });
}

async fn each_link_can_be_looked_up(db: Scratch) {
    let mut seen = Vec::new();
    for number in 0..3 {
        db.accepted(&[unrelated(&format!("evt_{number}"))]).await;
        seen.extend(heads(&db).await);
    }
    let link = async |name: &str, writer: &str, number| db.link_hash(&account(name), writer, number).await.unwrap();
    assert_eq!(seen.iter().map(|head| head.number).collect::<Vec<_>>(), [1, 2, 3]);
    for ChainHead { writer, number, hash } in seen {
        assert_eq!(link("default", &writer, number).await, Some(hash));
    }
    for (name, writer, number) in [
        ("default", CHAIN_WRITER, 0),
        ("default", CHAIN_WRITER, 4),
        ("default", "other", 1),
        ("other", CHAIN_WRITER, 1),
    ] {
        assert_eq!(link(name, writer, number).await, None, "{name} {writer} {number}");
    }
}

async fn chains_of_several_writers_hold_each_by_itself(db: Scratch) {
    let mut replicas = tokio::task::JoinSet::new();
    for replica in 0..4 {
        let store = db.opened_again().await;
        replicas.spawn(async move {
            for number in 0..10 {
                store.accept(vec![unrelated(&format!("evt_{replica}_{number}"))], NOW).await.unwrap();
            }
        });
    }
    replicas.join_all().await;
    assert_eq!(report(&db).await, ChainReport { batches: 40, events: 40, faults: vec![] });
    let heads = heads(&db).await;
    assert_eq!(heads.iter().map(|head| head.number).sum::<i64>(), 40, "{heads:?}");
    for ChainHead { writer, number, .. } in heads {
        db.tamper(&format!("DELETE FROM event WHERE writer = '{writer}' AND batch = {number}")).await;
        let faults = report(&db).await.faults;
        let altered = ChainFault::BatchAltered { writer, number, first_seq: 0, last_seq: 0 };
        assert_eq!(faults.last(), Some(&altered), "in the order of writers");
    }
}
