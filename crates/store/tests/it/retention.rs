//! Bodies are dropped by age; nothing else is.

use domain::Timestamp;
use store::{NewEvent, Receipt};

use crate::scratch::{NOW, Scratch, account, at, created, delivery, prepare, succeeded, unrelated};

on_each!(
    old_bodies_of_what_is_settled_are_dropped,
    what_needs_more_work_keeps_its_body,
    a_late_delivery_is_what_it_was,
    what_another_endpoint_wants_late_is_applied,
    many_are_dropped_in_small_steps,
    weeks_of_bodies_are_dropped_at_once,
);

const DAY: i64 = 24 * 60 * 60;

fn came(mut event: NewEvent, received_at: Timestamp) -> NewEvent {
    event.received_at = received_at;
    event
}

async fn body_of(db: &Scratch, seq: i64) -> Option<Vec<u8>> {
    db.show_event(&account("default"), seq).await.unwrap().expect("the event stays").body
}

async fn old_bodies_of_what_is_settled_are_dropped(db: Scratch) {
    db.lived_through(&[
        came(succeeded("evt_1", "pi_1", "1"), at(0)),
        came(unrelated("evt_2"), at(1)),
        came(succeeded("evt_3", "pi_3", "3"), at(DAY)),
    ])
    .await;
    let seqs: Vec<i64> =
        db.rows("SELECT seq FROM event ORDER BY seq").await.iter().map(|row| row[0].parse().unwrap()).collect();
    let but_bodies =
        async || db.dump().await.into_iter().filter(|(table, _)| !table.starts_with("event_body")).collect::<Vec<_>>();
    let before = but_bodies().await;
    assert_eq!(db.drop_bodies(at(0)).await.unwrap(), 0, "what came at that instant stays");
    assert_eq!(db.drop_bodies(at(DAY)).await.unwrap(), 2);
    assert_eq!(db.drop_bodies(at(DAY)).await.unwrap(), 0);
    assert_eq!(but_bodies().await, before, "nothing else is touched");
    assert_eq!((body_of(&db, seqs[0]).await, body_of(&db, seqs[1]).await), (None, None));
    assert!(body_of(&db, seqs[2]).await.is_some());
    assert_eq!(db.value("SELECT count(*) FROM webhook_events WHERE payload IS NULL").await, "2");
    assert_eq!(db.verify_chain(&account("default")).await.unwrap().faults, [], "a body that is gone is no fault");
    assert_eq!(db.replay_events(&Default::default(), at(2 * DAY)).await.unwrap(), 1, "there is nothing to replay");
    // What they stated is still there.
    let statements = db.stated().await;
    assert!(statements[0].bodies == 0 && !statements[0].facts.is_empty());
}

async fn what_needs_more_work_keeps_its_body(db: Scratch) {
    let mut waits = succeeded("evt_1", "pi_1", "");
    waits.creates = false;
    db.lived_through(&[waits]).await;
    db.accepted(&[succeeded("evt_2", "pi_2", ""), succeeded("evt_3", "pi_3", "")]).await;
    db.tamper("UPDATE event SET state = 'dead', due_at = NULL WHERE event_id = 'evt_2'").await;
    db.lived_through(&[succeeded("evt_4", "pi_4", "")]).await;
    db.accepted(&[came(succeeded("evt_5", "pi_5", ""), at(5))]).await;
    db.tamper("UPDATE event SET state = 'failed' WHERE event_id = 'evt_5'").await;
    let states = db.rows("SELECT event_id, state FROM event ORDER BY event_id").await;
    let expected =
        [["evt_1", "waiting"], ["evt_2", "dead"], ["evt_3", "applied"], ["evt_4", "applied"], ["evt_5", "failed"]];
    assert_eq!(states, expected);
    assert_eq!(db.drop_bodies(at(9 * DAY)).await.unwrap(), 2);
    let left = "SELECT event_id FROM webhook_events WHERE payload IS NOT NULL ORDER BY event_id";
    assert_eq!(db.rows(left).await, [["evt_1"], ["evt_2"], ["evt_5"]]);
}

async fn a_late_delivery_is_what_it_was(db: Scratch) {
    let mut rendering = succeeded("evt_1", "pi_1", "6735");
    rendering.api_version = Some("2026-01-01".to_owned());
    db.lived_through(&[created("evt_1", "pi_1", "6735"), rendering.clone()]).await;
    assert_eq!(db.drop_bodies(at(9 * DAY)).await.unwrap(), 2, "the rendering's too");
    assert_eq!(db.drop_bodies(at(9 * DAY)).await.unwrap(), 0);
    assert_eq!(db.verify_chain(&account("default")).await.unwrap().faults, []);
    let facts = db.value("SELECT facts FROM event_facts").await;
    let late = |event: NewEvent| came(event, at(9 * DAY));
    assert_eq!(db.accepted(&[late(created("evt_1", "pi_1", "6735")), late(rendering)]).await, [Receipt::Duplicate; 2]);
    assert_eq!(db.claimed(at(10 * DAY)).await.len(), 0, "nothing is to be done");
    // In a version in which it was never seen it adds to what it stated.
    let mut another = created("evt_1", "pi_1", "6735");
    another.api_version = Some("2026-02-02".to_owned());
    db.accepted(&[late(another)]).await;
    let claimed = db.claimed(at(10 * DAY)).await;
    assert_eq!((claimed.len(), claimed[0].body.len(), claimed[0].renderings.len()), (1, 0, 1));
    let stated = claimed[0].stated.as_ref().expect("what it stated before");
    assert_eq!(serde_json::to_string(&stated.facts).unwrap(), facts);
}

async fn what_another_endpoint_wants_late_is_applied(db: Scratch) {
    let mut aside = succeeded("evt_1", "pi_1", "6735");
    aside.ignored_because = Some("its mode is not the endpoint's");
    db.accepted(&[aside]).await;
    assert_eq!(db.drop_bodies(at(DAY)).await.unwrap(), 1);
    let wanted = came(succeeded("evt_1", "pi_1", "6735"), at(2 * DAY));
    assert_eq!(db.accepting(&[wanted], at(2 * DAY)).await.unwrap(), [Receipt::Again]);
    let mut claimed = db.claimed(at(2 * DAY)).await;
    assert_eq!((claimed.len(), claimed[0].body.len()), (1, 0), "the first body is gone");
    claimed[0].body = claimed[0].renderings.remove(0);
    let batch = claimed.iter().map(prepare).collect();
    db.apply(&account("default"), batch, at(2 * DAY)).await.unwrap();
    assert_eq!(db.value("SELECT payment_status FROM orders WHERE id = '6735'").await, "paid");
    assert_eq!(db.verify_chain(&account("default")).await.unwrap().faults, []);
}

async fn many_are_dropped_in_small_steps(db: Scratch) {
    let other = |mut event: NewEvent| {
        event.account = account("other");
        event
    };
    let many = |from: u32| (from..from + 700).map(|n| delivery(&format!("evt_{n}"), "customer.created", "{}"));
    db.accepted(&many(0).collect::<Vec<_>>()).await;
    db.accepted(&many(5000).map(other).collect::<Vec<_>>()).await;
    db.tamper("UPDATE event SET state = 'ignored', due_at = NULL").await;
    db.tamper("UPDATE event SET state = 'waiting' WHERE event_id IN ('evt_5', 'evt_5005')").await;
    db.accepted(&[came(succeeded("evt_new", "pi_1", ""), at(DAY))]).await;
    assert_eq!(db.drop_bodies(at(DAY)).await.unwrap(), 1398);
    assert_eq!(db.value("SELECT count(*) FROM event_body").await, "3");
    assert_eq!(db.drop_bodies(at(DAY)).await.unwrap(), 0, "the next pass goes over them again");
}

/// On PostgreSQL; SQLite has no partitions.
async fn weeks_of_bodies_are_dropped_at_once(db: Scratch) {
    for _ in 0..2 {
        db.make_partitions(NOW, true).await.unwrap();
    }
    let other = db.opened_again().await;
    other.make_partitions(at(3 * DAY), true).await.unwrap();
    let dated = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'event_body_2%' ORDER BY relname";
    if db.is_postgres() {
        assert_eq!(db.rows(dated).await, [["event_body_20251121"], ["event_body_20251128"], ["event_body_20251205"]]);
        let target = "SELECT reloptions FROM pg_class WHERE relname = 'event_body_20251121'";
        assert_eq!(db.value(target).await, "{toast_tuple_target=8160}");
    }
    let mut waits = succeeded("evt_3", "pi_3", "");
    waits.creates = false;
    db.accepted(&[
        came(succeeded("evt_1", "pi_1", ""), at(0)),
        came(succeeded("evt_2", "pi_2", ""), at(2 * DAY)),
        came(waits, at(3 * DAY)),
        came(succeeded("evt_4", "pi_4", ""), at(9 * DAY)),
        came(succeeded("evt_5", "pi_5", ""), at(99 * DAY)),
    ])
    .await;
    db.applied(at(99 * DAY)).await;
    // Not all that is in the second week is older.
    let dropped = db.drop_bodies(at(10 * DAY)).await.unwrap();
    let left = "SELECT event_id FROM webhook_events WHERE payload IS NOT NULL ORDER BY event_id";
    if db.is_postgres() {
        assert_eq!(dropped, 1, "one by one, of the day before there were partitions");
        assert_eq!(db.rows(dated).await, [["event_body_20251128"], ["event_body_20251205"]]);
        assert_eq!(db.rows(left).await, [["evt_3"], ["evt_4"], ["evt_5"]]);
        let moved = "SELECT tableoid::regclass, count(*) FROM event_body GROUP BY 1 ORDER BY 1";
        assert_eq!(db.rows(moved).await, [["event_body_default", "2"], ["event_body_20251128", "1"]]);
    } else {
        assert_eq!(dropped, 3);
        assert_eq!(db.rows(left).await, [["evt_3"], ["evt_5"]]);
    }
    assert_eq!(db.verify_chain(&account("default")).await.unwrap().faults, []);
    db.accepted(&[came(succeeded("evt_6", "pi_6", ""), at(4 * DAY))]).await;
    db.applied(at(99 * DAY)).await;
    assert_eq!(
        db.value("SELECT state FROM event WHERE event_id = 'evt_6'").await,
        "applied",
        "where no partition is left"
    );
}
