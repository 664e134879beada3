//! Putting events back to be applied.

use store::{EventFilter, EventState};

use crate::scratch::{NOW, Scratch, account, at, created, refund, succeeded, unrelated};

on_each!(
    a_replay_changes_nothing_that_was_applied,
    a_replay_keeps_to_its_filter,
    a_replay_leaves_out_what_has_no_body,
    a_filter_is_narrow_when_it_says_which,
);

async fn a_replay_changes_nothing_that_was_applied(db: Scratch) {
    let batch = [
        succeeded("evt_1", "pi_1", "6735"),
        refund("evt_2", "re_1", "ch_1", "pi_1", 500),
        created("evt_3", "pi_2", "6735"),
        unrelated("evt_4"),
    ];
    db.lived_through(&batch).await;
    let state = "SELECT * FROM payments ORDER BY id; ";
    let (payments, history) = (db.rows(state).await, db.rows("SELECT * FROM history ORDER BY seq").await);
    assert_eq!(db.replay_events(&EventFilter::default(), at(5000)).await.unwrap(), 4);
    assert_eq!(db.value("SELECT count(*) FROM webhook_events WHERE processed").await, "0");
    let settled = db.applied(at(5000)).await;
    assert_eq!(settled.len(), 4);
    assert_eq!(db.rows(state).await, payments, "not even when they changed last");
    assert_eq!(db.rows("SELECT * FROM history ORDER BY seq").await, history);
    let states = db.rows("SELECT state FROM webhook_events ORDER BY id").await.concat();
    assert_eq!(states, ["applied", "applied", "applied", "ignored"]);
}

async fn a_replay_keeps_to_its_filter(db: Scratch) {
    db.lived_through(&[succeeded("evt_1", "pi_1", ""), created("evt_2", "pi_2", ""), unrelated("evt_3")]).await;
    let mut elsewhere = unrelated("evt_1");
    elsewhere.account = account("shop");
    elsewhere.ignored_because = None;
    db.accepted(&[elsewhere]).await;
    let of_type = |event_type: &str| EventFilter { event_type: Some(event_type.to_owned()), ..EventFilter::default() };
    let cases = [
        (of_type("payment_intent.created"), vec!["evt_2"]),
        (
            EventFilter {
                account: Some(account("default")),
                event_id: Some("evt_1".to_owned()),
                ..EventFilter::default()
            },
            vec!["evt_1"],
        ),
        (EventFilter { q: Some("pi_2".to_owned()), ..EventFilter::default() }, vec!["evt_2"]),
        (EventFilter { payment: Some("pay_nobody".to_owned()), ..EventFilter::default() }, vec![]),
        (of_type("nothing"), vec![]),
    ];
    for (filter, expected) in cases {
        let count = expected.len() as u64;
        assert_eq!(db.count_replayable(&filter).await.unwrap(), count, "{filter:?}");
        assert_eq!(db.replay_events(&filter, at(9)).await.unwrap(), count, "{filter:?}");
        let due: Vec<String> = db.claimed(at(9)).await.into_iter().map(|event| event.event_id).collect();
        assert_eq!(due, expected, "{filter:?}");
        db.applied(at(9)).await;
    }
    let row = db.list_events(&of_type("payment_intent.created"), 1).await.unwrap().remove(0);
    assert!(db.replay_event(&row.account, row.seq, at(9)).await.unwrap());
    assert_eq!(db.claimed(at(9)).await.len(), 1);
    assert!(!db.replay_event(&row.account, 4711, at(9)).await.unwrap());
}

async fn a_replay_leaves_out_what_has_no_body(db: Scratch) {
    db.lived_through(&[unrelated("evt_1"), unrelated("evt_2")]).await;
    let (first, second) = (db.seq_of("evt_1").await, db.seq_of("evt_2").await);
    assert_eq!(db.tamper(&format!("DELETE FROM event_body WHERE seq = {first}")).await, 1);
    assert_eq!(db.count_replayable(&EventFilter::default()).await.unwrap(), 1);
    assert!(!db.replay_event(&account("default"), first, NOW).await.unwrap());
    assert_eq!(db.replay_events(&EventFilter::default(), NOW).await.unwrap(), 1);
    assert_eq!(db.events_to_apply(&account("default"), &[first, second]).await.unwrap().len(), 1);
}

async fn a_filter_is_narrow_when_it_says_which(db: Scratch) {
    let wide = EventFilter::default;
    let text = || Some("x".to_owned());
    let narrow = [
        EventFilter { gateway: text(), ..wide() },
        EventFilter { endpoint: text(), ..wide() },
        EventFilter { event_type: text(), ..wide() },
        EventFilter { payment: text(), ..wide() },
        EventFilter { q: text(), ..wide() },
        EventFilter { event_id: text(), ..wide() },
        EventFilter { state: Some(EventState::Dead), ..wide() },
        EventFilter { since: Some(NOW), ..wide() },
        EventFilter { until: Some(NOW), ..wide() },
    ];
    for filter in narrow {
        assert!(filter.is_narrow(), "{filter:?}");
    }
    let not_narrow = [
        wide(),
        EventFilter { account: Some(account("default")), ..wide() },
        EventFilter { before: Some(7), ..wide() },
        EventFilter { q: Some(String::new()), ..wide() },
    ];
    for filter in not_narrow {
        assert!(!filter.is_narrow(), "{filter:?}");
    }
    drop(db);
}
