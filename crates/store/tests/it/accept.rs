//! What is on disk, and what the sender is told of it.

use domain::Mode;
use store::{EventFilter, NewEvent, Receipt};

use crate::scratch::{NOW, Scratch, account, at, succeeded, unrelated};

on_each!(
    each_event_is_new_once,
    accept_of_nothing_is_nothing,
    what_is_not_applied_is_tried_again,
    every_part_of_the_identity_counts,
    one_id_twice_in_a_batch_is_one_event,
    a_batch_may_be_of_several_accounts,
    bodies_are_kept_byte_for_byte,
    what_is_kept_to_be_ignored_is_not_applied,
    what_one_endpoint_ignores_another_may_want,
    what_is_ignored_twice_in_a_batch_is_a_duplicate,
    a_large_batch_is_whole,
    deliveries_after_the_first_are_noted,
    two_processes_accept_an_event_once,
);

async fn each_event_is_new_once(db: Scratch) {
    let batch = [succeeded("evt_1", "pi_1", ""), unrelated("evt_2")];
    assert_eq!(db.accepted(&batch).await, [Receipt::New, Receipt::New]);
    assert_eq!(db.accepted(&batch).await, [Receipt::Again, Receipt::Again], "pending: tried again");
    db.applied(NOW).await;
    assert_eq!(db.accepted(&batch).await, [Receipt::Duplicate, Receipt::Duplicate], "applied, ignored: done with");
    assert_eq!(db.value("SELECT count(*) FROM webhook_events").await, "2");
    assert_eq!(db.backlog().await.unwrap().events, 0, "duplicates put nothing back");
}

async fn accept_of_nothing_is_nothing(db: Scratch) {
    let before = db.dump().await;
    assert_eq!(db.accepted(&[]).await, []);
    assert_eq!(db.dump().await, before);
}

/// A duplicate never swallows work that failed.
async fn what_is_not_applied_is_tried_again(db: Scratch) {
    for state in ["pending", "failed", "dead", "waiting"] {
        let event = succeeded(&format!("evt_{state}"), &format!("pi_{state}"), "");
        db.accepted(std::slice::from_ref(&event)).await;
        let due = match state {
            "pending" => NOW.micros().to_string(),
            "failed" => at(900).micros().to_string(),
            _ => "NULL".to_owned(),
        };
        let sql = "UPDATE event SET attempts = 3";
        db.tamper(&format!("{sql}, state = '{state}', due_at = {due} WHERE event_id = 'evt_{state}'")).await;
        assert_eq!(db.accepted(std::slice::from_ref(&event)).await, [Receipt::Again], "{state}");
        let claimed = db.claimed(NOW).await;
        assert_eq!(claimed.len(), 1, "{state}: it is due now");
        assert_eq!(claimed[0].attempts, if state == "pending" { 3 } else { 0 }, "{state}: it gets all its tries");
        db.applied(NOW).await;
    }
    assert_eq!(db.value("SELECT count(*) FROM webhook_events WHERE state = 'applied'").await, "4");
}

async fn every_part_of_the_identity_counts(db: Scratch) {
    let other = |change: fn(&mut NewEvent)| {
        let mut event = unrelated("evt_1");
        change(&mut event);
        event
    };
    let events = [
        other(|_| {}),
        other(|event| event.account = account("shop")),
        other(|event| event.gateway = "paypal"),
        other(|event| event.mode = Mode::Live),
        other(|event| event.connected_account = "acct_1".to_owned()),
        other(|event| event.event_id = "EVT_1".to_owned()),
    ];
    for event in &events {
        assert_eq!(db.accepted(std::slice::from_ref(event)).await, [Receipt::New], "{event:?}");
    }
    assert_eq!(db.accepted(&events).await, [Receipt::Again; 6]);
    let elsewhere = [
        other(|event| event.endpoint = "/api/webhooks/stripe".to_owned()),
        other(|event| event.event_type = "customer.updated".to_owned()),
        other(|event| event.received_at = at(60)),
    ];
    assert_eq!(db.accepted(&elsewhere).await, [Receipt::Again; 3], "the endpoint, type and time do not");
    assert_eq!(db.value("SELECT count(*) FROM webhook_events").await, "6");
}

async fn one_id_twice_in_a_batch_is_one_event(db: Scratch) {
    let first = succeeded("evt_1", "pi_1", "");
    let mut second = first.clone();
    second.received_at = at(1);
    let receipts = db.accepted(&[first, unrelated("evt_2"), second]).await;
    assert_eq!(receipts, [Receipt::New, Receipt::New, Receipt::Again]);
    assert_eq!(db.claimed(NOW).await.len(), 2);
    assert_eq!(db.value("SELECT count(*) FROM redelivery").await, "1");
}

async fn a_batch_may_be_of_several_accounts(db: Scratch) {
    let of = |name: &str, event_id: &str| {
        let mut event = unrelated(event_id);
        event.account = account(name);
        event
    };
    let batch = [of("a", "evt_1"), of("b", "evt_1"), of("a", "evt_2"), of("a", "evt_1")];
    assert_eq!(db.accepted(&batch).await, [Receipt::New, Receipt::New, Receipt::New, Receipt::Again]);
    for (name, events) in [("a", 2), ("b", 1), ("c", 0)] {
        assert_eq!(db.claim(&account(name), store::Place::START, NOW, 10).await.unwrap().len(), events, "{name}");
        let report = db.verify_chain(&account(name)).await.unwrap();
        assert_eq!((report.events, report.batches), (events as u64, events.min(1) as u64), "{name}: its own chain");
    }
    assert_eq!(db.accounts().await.unwrap(), [account("a"), account("b")]);
}

async fn bodies_are_kept_byte_for_byte(db: Scratch) {
    let bodies: [&[u8]; 5] = [
        b"{\"id\": \"evt_1\",\r\n \"object\":\"event\" }\n\n",
        "{\"id\":\"evt_1\",\"name\":\"Zo\\u00eb Ḟoo 💶\\u0000\"}".as_bytes(),
        b"{\"id\":\"evt_1\",\"id\":\"evt_1\"}",
        b"",
        b"\x00\xff\xfe not text",
    ];
    for (index, body) in bodies.into_iter().enumerate() {
        let event = crate::scratch::delivery(&format!("evt_{index}"), "customer.created", body);
        db.accepted(&[event]).await;
        let claimed = db.claimed(NOW).await;
        assert_eq!(claimed[index].body, body);
        let detail = db.show_event(&account("default"), claimed[index].seq).await.unwrap().expect("it is there");
        assert_eq!(detail.body.as_deref(), Some(body));
    }
}

async fn what_is_kept_to_be_ignored_is_not_applied(db: Scratch) {
    let mut event = succeeded("evt_1", "pi_1", "");
    event.ignored_because = Some("its mode is not the endpoint's");
    assert_eq!(db.accepted(std::slice::from_ref(&event)).await, [Receipt::Ignored]);
    assert_eq!(db.claimed(at(3600)).await.len(), 0);
    assert_eq!(db.accepted(std::slice::from_ref(&event)).await, [Receipt::Duplicate]);
    let everything = EventFilter::default();
    assert_eq!(db.replay_events(&everything, NOW).await.unwrap(), 0);
    assert_eq!(db.count_replayable(&everything).await.unwrap(), 0);
    let row = db.list_events(&everything, 2).await.unwrap().remove(0);
    assert!(!db.replay_event(&row.account, row.seq, NOW).await.unwrap());
    assert_eq!(db.events_to_apply(&row.account, &[row.seq]).await.unwrap().len(), 0, "a preview leaves it out too");
    assert!(row.processed);
    assert_eq!(row.error_message.as_deref(), Some("its mode is not the endpoint's"));
    let body = db.show_event(&row.account, row.seq).await.unwrap().expect("it is there").body;
    assert_eq!(body.as_deref(), Some(&event.body[..]), "kept whole");
}

/// Two endpoints of an account, or one whose settings were put right since.
async fn what_one_endpoint_ignores_another_may_want(db: Scratch) {
    let wanted = succeeded("evt_1", "pi_1", "");
    let mut ignored = wanted.clone();
    ignored.ignored_because = Some("its connected account is not one of the endpoint's");
    ignored.creates = false;
    db.accepted(std::slice::from_ref(&ignored)).await;
    assert_eq!(db.accepted(std::slice::from_ref(&wanted)).await, [Receipt::Again]);
    assert_eq!(db.accepted(&[ignored]).await, [Receipt::Again], "it is under way");
    assert_eq!(db.value("SELECT error_message FROM webhook_events").await, "NULL");
    db.applied(NOW).await;
    assert_eq!(db.value("SELECT payment_status FROM payments").await, "paid");
    assert_eq!(db.accepted(&[wanted]).await, [Receipt::Duplicate]);

    let mut first = succeeded("evt_2", "pi_2", "");
    first.ignored_because = Some("its mode is not the endpoint's");
    let receipts = db.accepted(&[first, succeeded("evt_2", "pi_2", "")]).await;
    assert_eq!(receipts, [Receipt::Ignored, Receipt::Again], "in one batch");
    assert_eq!(db.claimed(NOW).await.len(), 1);
}

async fn what_is_ignored_twice_in_a_batch_is_a_duplicate(db: Scratch) {
    let mut event = unrelated("evt_1");
    event.ignored_because = Some("its mode is not the endpoint's");
    assert_eq!(db.accepted(&[event.clone(), event]).await, [Receipt::Ignored, Receipt::Duplicate]);
}

/// More rows than any one statement takes.
async fn a_large_batch_is_whole(db: Scratch) {
    let batch: Vec<NewEvent> = (0..1003).map(|n| succeeded(&format!("evt_{n}"), &format!("pi_{n}"), "")).collect();
    assert_eq!(db.accepted(&batch).await, vec![Receipt::New; 1003]);
    let claimed = db.claim(&account("default"), store::Place::START, NOW, 2000).await.unwrap();
    let ids: Vec<&str> = claimed.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(ids, batch.iter().map(|event| event.event_id.as_str()).collect::<Vec<_>>(), "in the order of arrival");
    assert!(claimed.iter().zip(&batch).all(|(claimed, sent)| claimed.body == sent.body));
}

async fn deliveries_after_the_first_are_noted(db: Scratch) {
    let event = succeeded("evt_1", "pi_1", "");
    db.lived_through(std::slice::from_ref(&event)).await;
    for (seconds, endpoint) in [(5, "/payments/webhook"), (9, "/api/webhooks/stripe")] {
        let mut again = event.clone();
        again.received_at = at(seconds);
        again.endpoint = endpoint.to_owned();
        db.accepted(&[again]).await;
    }
    let row = db.list_events(&EventFilter::default(), 10).await.unwrap().remove(0);
    assert_eq!(row.created_at, NOW, "its own row is the first delivery");
    let detail = db.show_event(&row.account, row.seq).await.unwrap().expect("it is there");
    let noted: Vec<_> = detail.redeliveries.iter().map(|again| (again.received_at, again.endpoint.as_str())).collect();
    assert_eq!(noted, [(at(5), "/payments/webhook"), (at(9), "/api/webhooks/stripe")]);
    assert_eq!(detail.body.as_deref(), Some(&event.body[..]));
}

async fn two_processes_accept_an_event_once(db: Scratch) {
    let other = db.opened_again().await;
    let batch: Vec<NewEvent> = (0..200).map(|n| unrelated(&format!("evt_{n}"))).collect();
    let (ours, theirs) = tokio::join!(db.accepting(&batch, NOW), other.accept(batch.clone(), NOW));
    for (ours, theirs) in ours.unwrap().iter().zip(theirs.unwrap()) {
        assert_eq!([*ours, theirs].iter().filter(|receipt| **receipt == Receipt::New).count(), 1);
    }
    assert_eq!(db.value("SELECT count(*) FROM event").await, "200");
    assert_eq!(db.verify_chain(&account("default")).await.unwrap().faults, []);
}
