//! One event that cannot be applied stops no other; it backs off, dies, and stays.

use domain::{Timestamp, retry};
use gateways::stripe::sample::Sampler;
use store::{EventFilter, EventState, NewEvent};

use crate::it::scratch::{NOW, Scratch, about, until};

/// Its payment's row cannot be read.
const POISONED: &str = "evt_poisoned";

async fn with_a_poisoned_event() -> (Scratch, Vec<NewEvent>) {
    let db = Scratch::new().await;
    let mut sampler = Sampler::new(5);
    db.accepted(&[about(&mut sampler, "payment_intent.created", "pi_1")], NOW).await;
    db.apply_all().await;
    db.tamper("UPDATE payment SET description = facts, facts = '{\"intents\":7}'").await;
    let mut poisoned = about(&mut sampler, "payment_intent.succeeded", "pi_1");
    poisoned.event_id = POISONED.to_owned();
    let sound = |sampler: &mut Sampler, n: i32| about(sampler, "payment_intent.succeeded", &format!("pi_sound_{n}"));
    let batch = vec![sound(&mut sampler, 1), poisoned, sound(&mut sampler, 2), sound(&mut sampler, 3)];
    db.accepted(&batch, NOW).await;
    (db, batch)
}

#[tokio::test]
async fn it_stops_no_other() {
    let (db, batch) = with_a_poisoned_event().await;
    let engine = db.engine();
    let others_are_applied = async || {
        let applied = EventFilter { state: Some(EventState::Applied), ..EventFilter::default() };
        db.count_events(&applied).await.unwrap() == batch.len() as u64
    };
    let events = async || format!("{:#?}", db.rows("SELECT event_id, state, error FROM event").await);
    until(others_are_applied, events).await;
    let failed = async || db.event(POISONED).await.state == EventState::Failed;
    until(failed, async || "the poisoned event did not fail".to_owned()).await;
    engine.stop().await;
    let paid = "SELECT count(*) FROM payments WHERE payment_status = 'paid'";
    assert_eq!(db.rows(paid).await, ["3"], "each of the others, once");
}

#[tokio::test]
async fn it_backs_off_dies_and_is_replayed_after_repair() {
    let (db, _) = with_a_poisoned_event().await;
    let mut delays = Vec::new();
    for attempt in 1..=retry::ATTEMPTS_MAX {
        let tried_at = db.clock.now();
        db.apply_all().await;
        let event = db.event(POISONED).await;
        assert_eq!(event.attempts, attempt);
        assert!(
            !event.processed && event.error_message.as_deref().is_some_and(|error| error.contains("corrupt")),
            "{event:?}"
        );
        db.apply_all().await;
        assert_eq!(db.event(POISONED).await.attempts, attempt, "it is not tried before it is due");
        if attempt == retry::ATTEMPTS_MAX {
            assert_eq!(event.state, EventState::Dead);
            break;
        }
        assert_eq!(event.state, EventState::Failed);
        let due_at =
            db.claim(&event.account, store::Place::START, Timestamp::from_seconds(4_000_000_000), 9).await.unwrap()[0]
                .due_at;
        let due_at = due_at.expect("it is due again");
        delays.push(due_at.micros() - tried_at.micros());
        db.clock.set(due_at.plus_micros(-1));
        db.apply_all().await;
        assert_eq!(db.event(POISONED).await.attempts, attempt);
        db.clock.set(due_at);
    }
    for (attempt, delay) in (1..).zip(&delays) {
        let longest = retry::backoff_micros(attempt, 0.0).expect("not the last");
        assert!((longest / 2..=longest).contains(delay), "after attempt {attempt}: {delay} µs of {longest}");
    }
    let event = db.event(POISONED).await;
    let detail = db.show_event(&event.account, event.seq).await.unwrap().expect("it is there");
    assert_eq!(detail.failed_attempts.len() as u32, retry::ATTEMPTS_MAX, "each is remembered");
    db.clock.set(Timestamp::from_seconds(4_000_000_000));
    db.apply_all().await;
    assert_eq!(db.event(POISONED).await.state, EventState::Dead, "nobody tries it again");

    db.tamper("UPDATE payment SET facts = description WHERE facts = '{\"intents\":7}'").await;
    assert!(db.replay_event(&event.account, event.seq, db.clock.now()).await.unwrap());
    db.apply_all().await;
    let event = db.event(POISONED).await;
    assert_eq!((event.state, event.attempts, event.error_message), (EventState::Applied, 0, None));
    assert_eq!(db.rows("SELECT count(*) FROM payments WHERE payment_status = 'paid'").await, ["4"]);
}

#[tokio::test]
async fn what_cannot_be_read_fails_alone() {
    let db = Scratch::new().await;
    let mut sampler = Sampler::new(6);
    let sound = about(&mut sampler, "payment_intent.succeeded", "pi_1");
    let mut of_nobody = about(&mut sampler, "payment_intent.succeeded", "pi_2");
    of_nobody.gateway = "nobody";
    let broken = |event_id: &str, body: &'static [u8]| {
        let mut event = about(&mut Sampler::new(7), "payment_intent.succeeded", "pi_3");
        event.event_id = event_id.to_owned();
        event.body = body.into();
        event
    };
    let bodies: [&[u8]; 4] = [b"", b"{", b"\xff\xfe", b"[]"];
    let mut batch = vec![of_nobody.clone()];
    batch.extend(bodies.iter().zip(1..).map(|(body, n)| broken(&format!("evt_broken_{n}"), body)));
    batch.push(sound.clone());
    db.accepted(&batch, NOW).await;
    db.apply_all().await;
    assert_eq!(db.event(&sound.event_id).await.state, EventState::Applied);
    for event in &batch[..5] {
        let row = db.event(&event.event_id).await;
        assert_eq!((row.state, row.attempts), (EventState::Failed, 1), "{row:?}");
        assert!(row.error_message.is_some_and(|error| !error.is_empty()));
    }
}
