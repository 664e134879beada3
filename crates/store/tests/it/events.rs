//! Reading events.

use domain::Mode;
use store::{Backlog, EventFilter, EventState, NewEvent, StateCounts};

use crate::scratch::{NOW, Scratch, account, at, created, refund, session, succeeded, unrelated};

on_each!(
    every_filter_lets_through_what_it_says,
    pages_lose_and_repeat_nothing,
    pages_hold_while_events_come_in,
    an_event_is_shown_with_all_that_belongs_to_it,
    counts_are_by_state_account_and_time,
    the_backlog_is_of_all_accounts,
);

fn changed(event: NewEvent, change: impl FnOnce(&mut NewEvent)) -> NewEvent {
    let mut event = event;
    change(&mut event);
    event
}

async fn every_filter_lets_through_what_it_says(db: Scratch) {
    let ignored = Some("its mode is not the endpoint's");
    db.accepted(&[
        succeeded("evt_1", "pi_1", "6735"),
        changed(refund("evt_2", "re_1", "ch_1", "pi_1", 500), |event| event.received_at = at(10)),
        changed(unrelated("evt_3"), |event| event.endpoint = "/api/webhooks/stripe".to_owned()),
        changed(created("evt_4", "pi_2", ""), |event| (event.ignored_because, event.mode) = (ignored, Mode::Live)),
        changed(unrelated("evt_5"), |event| event.gateway = "paypal"),
        changed(unrelated("evt_6"), |event| event.account = account("shop")),
    ])
    .await;
    db.applied(at(10)).await;
    let payment = db.value("SELECT id FROM payments").await;
    let text = |text: &str| Some(text.to_owned());
    let all = EventFilter::default;
    let third = db.seq_of("evt_3").await;
    let cases: Vec<(EventFilter, &[u8])> = vec![
        (all(), b"654321"),
        (EventFilter { account: Some(account("default")), ..all() }, b"54321"),
        (EventFilter { account: Some(account("shop")), ..all() }, b"6"),
        (EventFilter { account: Some(account("nobody")), ..all() }, b""),
        (EventFilter { gateway: text("paypal"), ..all() }, b"5"),
        (EventFilter { endpoint: text("/api/webhooks/stripe"), ..all() }, b"3"),
        (EventFilter { event_type: text("customer.created"), ..all() }, b"653"),
        (EventFilter { event_type: text("customer."), ..all() }, b""),
        (EventFilter { state: Some(EventState::Applied), ..all() }, b"21"),
        (EventFilter { state: Some(EventState::Ignored), ..all() }, b"543"),
        (EventFilter { state: Some(EventState::Pending), ..all() }, b"6"),
        (EventFilter { state: Some(EventState::Dead), ..all() }, b""),
        (EventFilter { payment: text(&payment), ..all() }, b"21"),
        (EventFilter { payment: text(&payment), account: Some(account("shop")), ..all() }, b""),
        (EventFilter { payment: text("pay_nobody"), ..all() }, b""),
        (EventFilter { since: Some(at(10)), ..all() }, b"2"),
        (EventFilter { until: Some(at(10)), ..all() }, b"65431"),
        (EventFilter { since: Some(at(1)), until: Some(at(9)), ..all() }, b""),
        (EventFilter { q: text("evt_3"), ..all() }, b"3"),
        (EventFilter { q: text("pi_1"), ..all() }, b"1"),
        (EventFilter { q: text("customer."), ..all() }, b"653"),
        (EventFilter { q: text("%"), ..all() }, b""),
        (EventFilter { q: text("' OR true --"), ..all() }, b""),
        (EventFilter { event_id: text("evt_2"), ..all() }, b"2"),
        (EventFilter { before: Some(third), ..all() }, b"21"),
        (EventFilter { gateway: text("stripe"), state: Some(EventState::Ignored), ..all() }, b"43"),
    ];
    for (filter, expected) in cases {
        let rows = db.list_events(&filter, 100).await.unwrap();
        let found: Vec<u8> = rows.iter().map(|row| row.event_id.as_bytes()[4]).collect();
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(expected), "{filter:?}");
        assert_eq!(db.count_events(&filter).await.unwrap(), expected.len() as u64, "{filter:?}");
    }
    let first = db.list_events(&all(), 1).await.unwrap();
    assert_eq!(first.len(), 1, "at most as many as asked for");
}

async fn pages_lose_and_repeat_nothing(db: Scratch) {
    let batch: Vec<_> = (0..450).map(|n| unrelated(&format!("evt_{n}"))).collect();
    db.accepted(&batch).await;
    let mut filter = EventFilter { account: Some(account("default")), ..EventFilter::default() };
    let mut seen = Vec::new();
    loop {
        let page = db.list_events(&filter, 100).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.seq);
        seen.extend(page.into_iter().map(|row| row.event_id));
    }
    let newest_first: Vec<_> = batch.iter().rev().map(|event| event.event_id.clone()).collect();
    assert_eq!(seen, newest_first);
}

async fn pages_hold_while_events_come_in(db: Scratch) {
    db.accepted(&(0..6).map(|n| unrelated(&format!("evt_{n}"))).collect::<Vec<_>>()).await;
    let first = db.list_events(&EventFilter::default(), 3).await.unwrap();
    db.accepted(&[unrelated("evt_late")]).await;
    let second = EventFilter { before: Some(first[2].seq), ..EventFilter::default() };
    let second = db.list_events(&second, 3).await.unwrap();
    let ids: Vec<&str> = first.iter().chain(&second).map(|row| row.event_id.as_str()).collect();
    assert_eq!(ids, ["evt_5", "evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]);
}

async fn an_event_is_shown_with_all_that_belongs_to_it(db: Scratch) {
    db.lived_through(&[session("evt_1", "cs_1", "pi_1", "6735")]).await;
    let detail = db.show_event(&account("default"), db.seq_of("evt_1").await).await.unwrap().expect("it is there");
    let row = &detail.event;
    assert_eq!((row.event_id.as_str(), row.event_type.as_str()), ("evt_1", "checkout.session.completed"));
    assert_eq!((row.gateway.as_str(), row.mode.as_str(), row.connected_account.as_str()), ("stripe", "test", ""));
    assert_eq!((row.object_id.as_deref(), row.needs_fetch), (Some("cs_1"), false));
    assert_eq!((row.created_at, row.processed_at), (NOW, Some(at(3600))));
    let changes: Vec<String> = detail
        .changes
        .iter()
        .map(|change| format!("{} {:?}→{} by {:?}", change.subject, change.from, change.to, change.event_id))
        .collect();
    assert_eq!(changes, [r#"payment None→paid by Some("evt_1")"#, r#"order None→paid by Some("evt_1")"#]);
    assert_eq!(detail.changes[1].payment_id, detail.changes[0].subject_id);
    assert!(detail.redeliveries.is_empty() && detail.failed_attempts.is_empty());
    assert!(db.show_event(&account("default"), 4711).await.unwrap().is_none());
}

async fn counts_are_by_state_account_and_time(db: Scratch) {
    let mut batch = vec![succeeded("evt_1", "pi_1", ""), unrelated("evt_2")];
    batch.extend((3..8).map(|n| changed(unrelated(&format!("evt_{n}")), |event| event.received_at = at(100))));
    batch.push(changed(unrelated("evt_8"), |event| event.account = account("shop")));
    db.accepted(&batch).await;
    db.applied(at(1)).await;
    for (event, state) in [(3, "failed"), (4, "dead"), (5, "dead"), (6, "waiting")] {
        db.tamper(&format!("UPDATE event SET state = '{state}' WHERE event_id = 'evt_{event}'")).await;
    }
    let all = StateCounts { total: 8, pending: 2, applied: 1, ignored: 1, waiting: 1, failed: 1, dead: 2 };
    let late = StateCounts { total: 5, pending: 1, applied: 0, ignored: 0, ..all };
    let shop = StateCounts { total: 1, pending: 1, ..StateCounts::default() };
    assert_eq!(db.count_states(None, NOW).await.unwrap(), all);
    assert_eq!(db.count_states(None, at(100)).await.unwrap(), late, "an instant counts as since itself");
    assert_eq!(db.count_states(None, at(101)).await.unwrap(), StateCounts::default());
    assert_eq!(db.count_states(Some(&account("shop")), NOW).await.unwrap(), shop);
    assert_eq!(db.count_states(Some(&account("nobody")), NOW).await.unwrap(), StateCounts::default());
}

async fn the_backlog_is_of_all_accounts(db: Scratch) {
    assert_eq!(db.backlog().await.unwrap(), Backlog { events: 0, oldest_received_at: None });
    let of_shop = changed(unrelated("evt_3"), |event| (event.account, event.received_at) = (account("shop"), at(30)));
    db.accepted(&[unrelated("evt_1"), changed(unrelated("evt_2"), |event| event.received_at = at(20)), of_shop]).await;
    assert_eq!(db.backlog().await.unwrap(), Backlog { events: 3, oldest_received_at: Some(NOW) });
    db.applied(at(25)).await;
    assert_eq!(db.backlog().await.unwrap(), Backlog { events: 1, oldest_received_at: Some(at(30)) });
}
