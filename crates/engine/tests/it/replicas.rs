//! Three engines, each with connections of its own, on one database, none of them special.

use std::collections::BTreeSet;

use domain::AccountId;
use engine::{Engine, Intake};
use store::{NewEvent, Receipt};
use testdb::Database;
use tokio::task::JoinSet;

use crate::it::scratch::{NOW, Scratch, as_gateways_deliver, lives};

const REPLICAS: usize = 3;
/// About three thousand events.
const PAYMENTS: usize = 600;

/// Everything is handed in while nobody can write, each delivery at one of the replicas and
/// some at two at the same time; then all of them go on at once.
async fn submit_at_once(db: &Scratch, intakes: &[Intake], deliveries: Vec<NewEvent>) -> Vec<Receipt> {
    let locked = db.locked().await;
    let mut submitted = JoinSet::new();
    for (number, event) in deliveries.into_iter().enumerate() {
        let twice = if number % 7 == 0 { 2 } else { 1 };
        for replica in 0..twice {
            let (intake, event) = (intakes[(number + replica) % REPLICAS].clone(), event.clone());
            submitted.spawn(async move { intake.submit(event).await.expect("it is stored") });
        }
    }
    locked.release().await;
    submitted.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_of_them_come_to_what_one_comes_to() {
    let events = lives(41, PAYMENTS);
    let ids: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    let deliveries = as_gateways_deliver(&events, 41);
    let alone = Scratch::on(Database::sqlite().await).await;
    alone.accepted(&deliveries, NOW).await;
    alone.apply_all().await;

    let db = Scratch::new().await;
    let mut stores = Vec::new();
    for _ in 0..REPLICAS {
        stores.push(db.opened_again().await);
    }
    let engines: Vec<Engine> = stores.iter().map(|store| Engine::start(store.clone(), db.clock.clone())).collect();
    let intakes: Vec<Intake> = engines.iter().map(Engine::intake).collect();
    let told = submit_at_once(&db, &intakes, deliveries).await;
    let new = told.iter().filter(|receipt| **receipt == Receipt::New).count();
    assert_eq!(new, ids.len(), "of several at once one is the first");
    drop(intakes);
    db.settled().await;
    for engine in engines {
        engine.stop().await;
    }

    assert_eq!(db.count_events(&Default::default()).await.unwrap(), ids.len() as u64);
    let (state, expected) = (db.state().await, alone.state().await);
    let differing: Vec<_> = state.iter().zip(&expected).filter(|(one, other)| one != other).take(3).collect();
    assert_eq!((state.len(), differing), (expected.len(), vec![]));
    let again = "SELECT subject, subject_id, to_status, event_seq, count(*) FROM history
                 GROUP BY 1, 2, 3, 4 HAVING count(*) > 1";
    assert_eq!(db.rows(again).await, [""; 0], "no transition is stored twice");
    let broken = "SELECT subject, subject_id, seq FROM (
                      SELECT subject, subject_id, seq, from_status,
                             lag(to_status) OVER (PARTITION BY account, subject, subject_id ORDER BY seq) AS before
                      FROM history) h WHERE h.before IS NOT NULL AND h.before <> h.from_status";
    assert_eq!(db.rows(broken).await, [""; 0], "each transition goes on where the one before it ended");
    assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, []);

    let chain = db.verify_chain(&AccountId::default()).await.unwrap();
    assert_eq!((chain.events, chain.faults.as_slice()), (ids.len() as u64, &[][..]));
    let writers = db.chain_heads(&AccountId::default()).await.unwrap().len();
    assert!(writers > 1, "they wrote side by side");
    for store in stores.iter().chain([&*db]) {
        store.close().await;
    }
    assert_eq!(db.database().deadlocks().await, 0);
}
