//! Attempts that failed, until an event is dead.

use store::{Attempt, EventFilter, EventState, FailedAttempt, Prepared, Settled};

use crate::scratch::{NOW, Scratch, account, at, prepare, succeeded};

on_each!(
    a_failed_attempt_is_noted_and_due_later,
    the_last_failure_leaves_it_dead_and_visible,
    a_failure_does_not_undo_what_another_worker_did,
    a_failure_reaches_no_other_account,
    a_failure_of_what_was_added_to_since_is_none,
    what_a_clock_that_is_set_back_had_put_off_is_called_back,
);

/// Of an event with this number that was due at that instant.
fn attempt((seq, due_at): (i64, domain::Timestamp), number: u32, retry_at: Option<domain::Timestamp>) -> Attempt {
    Attempt { seq, due_at: Some(due_at), number, error: "row 7 of table payment is corrupt".to_owned(), retry_at }
}

async fn a_failed_attempt_is_noted_and_due_later(db: Scratch) {
    db.accepted(&[succeeded("evt_1", "pi_1", "")]).await;
    let seq = db.claimed(NOW).await[0].seq;
    db.fail(&account("default"), attempt((seq, NOW), 1, Some(at(30))), at(1)).await.unwrap();
    assert_eq!(db.claimed(at(29)).await.len(), 0);
    let due = db.claimed(at(30)).await;
    assert_eq!((due.len(), due[0].attempts), (1, 1));
    db.fail(&account("default"), attempt((seq, at(30)), 2, Some(at(90))), at(31)).await.unwrap();

    let row = db.list_events(&EventFilter::default(), 1).await.unwrap().remove(0);
    assert_eq!((row.state, row.attempts, row.processed), (EventState::Failed, 2, false));
    assert_eq!(row.error_message.as_deref(), Some("row 7 of table payment is corrupt"));
    assert_eq!(row.processed_at, None);
    let noted = db.show_event(&row.account, seq).await.unwrap().expect("it is there").failed_attempts;
    let expected = [(1, at(1)), (2, at(31))].map(|(number, at)| FailedAttempt {
        number,
        at,
        error: "row 7 of table payment is corrupt".to_owned(),
    });
    assert_eq!(noted, expected);
    assert_eq!(db.backlog().await.unwrap().events, 1, "it is still to be applied");

    db.applied(at(90)).await;
    let row = db.list_events(&EventFilter::default(), 1).await.unwrap().remove(0);
    assert_eq!((row.state, row.error_message, row.processed_at), (EventState::Applied, None, Some(at(90))));
}

async fn the_last_failure_leaves_it_dead_and_visible(db: Scratch) {
    db.accepted(&[succeeded("evt_1", "pi_1", "")]).await;
    let seq = db.claimed(NOW).await[0].seq;
    db.fail(&account("default"), attempt((seq, NOW), 12, None), at(1)).await.unwrap();
    assert_eq!(db.claimed(at(1_000_000)).await.len(), 0, "nobody tries it again");
    assert_eq!(db.backlog().await.unwrap().events, 0);
    let dead = EventFilter { state: Some(EventState::Dead), ..EventFilter::default() };
    let row = db.list_events(&dead, 10).await.unwrap().remove(0);
    assert_eq!((row.attempts, row.processed), (12, false));
    assert_eq!(db.replay_events(&dead, at(2)).await.unwrap(), 1, "until somebody asks for it");
    db.applied(at(2)).await;
    assert_eq!(db.value("SELECT payment_status FROM payments").await, "paid");
}

async fn a_failure_does_not_undo_what_another_worker_did(db: Scratch) {
    db.accepted(&[succeeded("evt_1", "pi_1", "")]).await;
    let batch: Vec<Prepared> = db.claimed(NOW).await.iter().map(prepare).collect();
    assert!(matches!(db.apply(&account("default"), batch.clone(), NOW).await.unwrap()[..], [Settled::Done(_)]));
    let before = db.dump().await;
    for retry_at in [Some(at(30)), None] {
        db.fail(&account("default"), attempt((batch[0].seq, NOW), 1, retry_at), at(1)).await.unwrap();
    }
    assert_eq!(db.dump().await, before);
}

async fn a_failure_reaches_no_other_account(db: Scratch) {
    db.accepted(&[succeeded("evt_1", "pi_1", "")]).await;
    let seq = db.claimed(NOW).await[0].seq;
    let before = db.dump().await;
    db.fail(&account("shop"), attempt((seq, NOW), 1, None), at(1)).await.unwrap();
    assert_eq!(db.dump().await, before);
}

/// Another rendering came between the claim and the failure: it has to be tried.
async fn a_failure_of_what_was_added_to_since_is_none(db: Scratch) {
    db.accepted(&[succeeded("evt_1", "pi_1", "")]).await;
    let seq = db.claimed(NOW).await[0].seq;
    let mut again = succeeded("evt_1", "pi_1", "");
    again.api_version = Some("2026-01-01".to_owned());
    db.fail(&account("default"), attempt((seq, NOW), 1, Some(at(5))), at(1)).await.unwrap();
    assert_eq!(db.accepting(&[again], at(2)).await.unwrap(), [store::Receipt::Again]);
    let before = db.dump().await;
    db.fail(&account("default"), attempt((seq, at(5)), 12, None), at(3)).await.unwrap();
    assert_eq!(db.dump().await, before);
    db.applied(at(10)).await;
    assert_eq!(db.value("SELECT payment_status FROM payments").await, "paid");
}

/// A day ahead: then the clock is right again.
async fn what_a_clock_that_is_set_back_had_put_off_is_called_back(db: Scratch) {
    const DAY: i64 = 86_400;
    let received = |event_id, intent, seconds| {
        let mut event = succeeded(event_id, intent, "");
        event.received_at = at(seconds);
        event
    };
    let mut of_shop = received("evt_shop", "pi_3", DAY);
    of_shop.account = account("shop");
    db.accepting(&[received("evt_new", "pi_1", DAY), of_shop], at(DAY)).await.unwrap();
    db.accepting(&[received("evt_fast", "pi_4", 4)], at(4)).await.unwrap();
    db.accepted(&[received("evt_failed", "pi_2", 0), received("evt_later", "pi_5", 0)]).await;
    let (failed, later) = (db.seq_of("evt_failed").await, db.seq_of("evt_later").await);
    db.fail(&account("default"), attempt((failed, NOW), 1, Some(at(DAY + 1))), at(DAY)).await.unwrap();
    db.fail(&account("default"), attempt((later, NOW), 11, Some(at(900))), NOW).await.unwrap();

    assert_eq!(db.claimed(NOW).await.len(), 0, "nothing would be applied for a day");
    assert_eq!(db.call_back(NOW).await.unwrap(), 3);
    assert_eq!(db.call_back(NOW).await.unwrap(), 0);
    let due: Vec<(String, u32)> = db.claimed(NOW).await.into_iter().map(|e| (e.event_id, e.attempts)).collect();
    assert_eq!(due, [("evt_new".to_owned(), 0), ("evt_failed".to_owned(), 1)]);
    db.applied(NOW).await;
    let due: Vec<String> = db.claimed(at(900)).await.into_iter().map(|event| event.event_id).collect();
    assert_eq!(due, ["evt_fast", "evt_later"], "another replica's clock is a little fast, and what failed waits");
    assert_eq!(db.accounts_due(NOW).await.unwrap(), [account("shop")]);
}
