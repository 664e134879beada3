//! What is stored becomes state: after a crash, by several workers, for several accounts.

use domain::AccountId;
use gateways::stripe::sample::Sampler;
use store::{EventState, NewEvent};

use crate::it::scratch::{NOW, Scratch, about, as_gateways_deliver, lives};

#[tokio::test]
async fn what_a_crash_left_behind_is_applied_at_the_next_start() {
    let db = Scratch::new().await;
    let events = as_gateways_deliver(&lives(7, 60), 7);
    db.accepted(&events, NOW).await;
    let db = db.restarted().await;
    assert_eq!(db.backlog().await.unwrap().events, lives(7, 60).len() as u64);
    let engine = db.engine();
    db.settled().await;
    engine.stop().await;
    assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, []);
    assert_eq!(db.rows("SELECT count(*) FROM event WHERE state NOT IN ('applied', 'ignored')").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_engines_apply_each_event_once() {
    let db = Scratch::new().await;
    let events = as_gateways_deliver(&lives(8, 150), 8);
    db.accepted(&events, NOW).await;
    let one = Scratch::new().await;
    one.accepted(&events, NOW).await;
    one.apply_all().await;

    let engines = [db.engine(), db.engine(), db.engine()];
    db.settled().await;
    for engine in engines {
        engine.stop().await;
    }
    assert_eq!(db.state().await, one.state().await);
    let again = "SELECT subject_id, to_status, event_seq, count(*) FROM history GROUP BY 1, 2, 3 HAVING count(*) > 1";
    assert_eq!(db.rows(again).await, [""; 0], "no transition is stored twice");
    assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, []);
}

#[tokio::test]
async fn accounts_are_applied_apart() {
    let db = Scratch::new().await;
    let mut events: Vec<NewEvent> = Vec::new();
    for name in ["default", "a-shop", "b-shop"] {
        let of_account = as_gateways_deliver(&lives(9, 20), 9);
        events.extend(of_account.into_iter().map(|mut event| {
            event.account = AccountId::parse(name).expect(name);
            event
        }));
    }
    db.accepted(&events, NOW).await;
    let engine = db.engine();
    db.settled().await;
    engine.stop().await;
    let comparison = engine::rebuild::check(&db).await.unwrap();
    assert_eq!((comparison.differences.as_slice(), comparison.payments), (&[][..], 3 * 20));
    let mixed = "SELECT count(*) FROM payment p JOIN payment q ON p.id = q.id AND p.account <> q.account";
    assert_eq!(db.rows(mixed).await, ["0"], "the same objects make other payments in other accounts");
}

#[tokio::test]
async fn a_preview_says_what_applying_does() {
    let db = Scratch::new().await;
    let mut sampler = Sampler::new(3);
    let events = ["payment_intent.created", "payment_intent.succeeded"]
        .map(|event_type| about(&mut sampler, event_type, "pi_1"));
    db.accepted(&events, NOW).await;
    let account = AccountId::default();
    let claimed = db.claim(&account, store::Place::START, NOW, 10).await.unwrap();
    let foreseen = engine::apply::preview(&db, &account, &claimed).await.unwrap();
    assert_eq!(db.list_payments(&Default::default(), 10).await.unwrap().len(), 0, "nothing is written");
    db.apply_all().await;
    for ((event_id, outcome), event) in foreseen.iter().zip(&events) {
        assert_eq!(*event_id, event.event_id);
        let domain::Outcome::Applied { changes, .. } = outcome else { panic!("{outcome:?}") };
        let row = db.event(event_id).await;
        assert_eq!(row.state, EventState::Applied);
        let stored = db.show_event(&account, row.seq).await.unwrap().expect("it is there").changes;
        let told = |to: &str, id: &str| format!("{id} {to}");
        let foreseen: Vec<_> = changes.iter().map(|change| told(change.to, &change.id)).collect();
        let stored: Vec<_> = stored.iter().map(|change| told(&change.to, &change.subject_id)).collect();
        assert_eq!(foreseen, stored);
    }
}
