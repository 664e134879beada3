//! The way in: what got a receipt is on disk, and what does not fit is refused.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use engine::Refused;
use gateways::stripe::sample::Sampler;
use store::{NewEvent, Receipt};
use tokio::task::JoinSet;

use crate::it::scratch::{NOW, Scratch, about, delivery, until};

/// Of `engine::intake`; a queue that grows by mistake fails these tests.
const WAITING_MAX: usize = 4096 + 2 * 256;
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

fn unrelated(number: usize, size: usize) -> NewEvent {
    let filler = " ".repeat(size);
    delivery(&format!(r#"{{"id":"evt_{number}","object":"event","type":"customer.created"}}{filler}"#))
}

#[tokio::test]
async fn what_is_submitted_is_stored_acknowledged_and_applied() {
    let db = Scratch::new().await;
    let engine = db.engine();
    let event = about(&mut Sampler::new(1), "payment_intent.succeeded", "pi_1");
    assert_eq!(engine.intake().submit(event.clone()).await, Ok(Receipt::New));
    db.settled().await;
    assert_eq!(db.rows("SELECT payment_status FROM payments").await, ["paid"]);
    assert_eq!(engine.intake().submit(event).await, Ok(Receipt::Duplicate));
    engine.stop().await;
}

/// Submits all at once; returns what each was told.
async fn submit_all(
    intake: engine::Intake,
    events: Vec<NewEvent>,
    during: impl Future<Output = ()>,
) -> Vec<Result<Receipt, Refused>> {
    let mut submitted = JoinSet::new();
    for event in events {
        let intake = intake.clone();
        submitted.spawn(async move { intake.submit(event).await });
    }
    drop(intake);
    during.await;
    submitted.join_all().await
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_loses_nothing() {
    let db = Scratch::new().await;
    let engine = db.engine();
    let locked = db.locked().await;
    let intake = engine.intake();
    let mut waiting: Vec<Pin<Box<dyn Future<Output = _>>>> = Vec::new();
    let mut refused = 0;
    for number in 0..WAITING_MAX + 500 {
        let mut submission = Box::pin(intake.submit(unrelated(number, 0)));
        match submission.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Pending => waiting.push(submission),
            std::task::Poll::Ready(answer) => {
                assert_eq!(answer, Err(Refused::Full));
                refused += 1;
            }
        }
    }
    assert!(refused >= 500, "{refused} were refused, {} wait", waiting.len());
    locked.release().await;
    let stored = waiting.len();
    for submission in waiting {
        assert_eq!(submission.await, Ok(Receipt::New));
    }
    assert_eq!(db.count_events(&Default::default()).await.unwrap(), stored as u64);
    assert_eq!(intake.submit(unrelated(9_999_999, 0)).await, Ok(Receipt::New), "there is room again");
    drop(intake);
    engine.stop().await;
}

#[tokio::test]
async fn the_bytes_that_wait_are_bounded() {
    const SIZE: usize = 1024 * 1024;
    let db = Scratch::new().await;
    let engine = db.engine();
    let locked = db.locked().await;
    let events: Vec<NewEvent> = (0..40).map(|number| unrelated(number, SIZE)).collect();
    let fit = WAITING_BYTES_MAX / events[0].body.len();
    let yielding = async {
        tokio::task::yield_now().await; // Every task has submitted by now: they run in turn.
        locked.release().await;
    };
    let told = submit_all(engine.intake(), events, yielding).await;
    let count = |what| told.iter().filter(|answer| **answer == what).count();
    assert_eq!((count(Ok(Receipt::New)), count(Err(Refused::Full))), (fit, 40 - fit));
    assert_eq!(engine.intake().submit(unrelated(99, 20 * SIZE)).await, Ok(Receipt::New), "the share is given back");
    assert_eq!(engine.intake().submit(unrelated(100, 33 * SIZE)).await, Err(Refused::Full), "it never fits");
    engine.stop().await;
}

#[tokio::test]
async fn a_database_that_is_away_refuses_and_comes_back() {
    let db = Scratch::new().await;
    let engine = db.engine();
    let locked = db.locked().await;
    assert_eq!(engine.intake().submit(unrelated(1, 0)).await, Err(Refused::Unavailable));
    locked.release().await;
    // The database gave up before the sender did.
    assert_eq!(engine.intake().submit(unrelated(1, 0)).await, Ok(Receipt::New), "it is back");
    assert_eq!(db.count_events(&Default::default()).await.unwrap(), 1);
    db.settled().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_sender_that_hangs_up_loses_nothing() {
    let db = Scratch::new().await;
    let engine = db.engine();
    let intake = engine.intake();
    let locked = db.locked().await;
    let mut submission = Box::pin(intake.submit(unrelated(1, 0)));
    assert!(submission.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(submission);
    locked.release().await;
    until(async || db.count_events(&Default::default()).await.unwrap() == 1, async || "it is not stored".to_owned())
        .await;
    drop(intake);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_leaves_everything_acknowledged_on_disk() {
    let db = Scratch::new().await;
    let engine = db.engine();
    let events: Vec<NewEvent> = (0..2000).map(|number| unrelated(number, 0)).collect();
    let intake = engine.intake();
    let (told, ()) = tokio::join!(submit_all(intake, events, async {}), engine.stop());
    let acknowledged = told.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(acknowledged, 2000, "stopping waits for those who hold the way in");
    let db = db.restarted().await;
    assert_eq!(db.count_events(&Default::default()).await.unwrap(), 2000);
    let engine = db.engine();
    db.settled().await;
    engine.stop().await;
    assert_eq!(db.count_states(None, NOW).await.unwrap().ignored, 2000);
}
