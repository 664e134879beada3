//! Proofs over what is stored.

use domain::money::Minor;
use domain::{AccountId, Currency, Money};
use engine::prove::{Options, Stored, prove_stored};
use store::NewOrder;

use crate::it::scratch::{NOW, Scratch, as_gateways_deliver, delivery, lives};

const OPTIONS: Options = Options { runs: 3, seed: 1 };

/// A store that lived: what was delivered to it, and what was registered in it.
async fn lived() -> Scratch {
    let db = Scratch::new().await;
    let account = AccountId::default();
    let due = Money { amount: Minor::new(1999).expect("an amount"), currency: Currency::parse("USD").expect("USD") };
    let metadata = Some(r#"{"table":"7"}"#.to_owned());
    let order = NewOrder { id: "kept".to_owned(), due, customer: None, metadata };
    db.register_order(&account, order, None, NOW).await.expect("it answers").expect("it is registered");
    for batch in as_gateways_deliver(&lives(16, 20), 16).chunks(11) {
        db.accepted(batch, NOW).await;
        db.apply_all().await;
    }
    db
}

#[tokio::test]
async fn what_is_stored_is_the_end_of_every_run() {
    let db = lived().await;
    let stored = Stored::read(&db).await.expect("it reads");
    let proof = prove_stored(&stored, OPTIONS, |_, _| {}).await.expect("it runs");
    assert!(proof.holds(), "{proof:#?}");
    assert!(proof.runs.iter().all(|run| proof.stored_hash.as_ref() == Some(&run.hash)), "{proof:#?}");
    assert_eq!((proof.events, proof.registrations), (lives(16, 20).len(), 1));

    db.accepted(&[delivery(&lives(17, 1)[0].body)], NOW).await;
    let unsettled = Stored::read(&db).await.unwrap_err().to_string();
    assert!(unsettled.contains("still to be applied"), "{unsettled}");
}

#[tokio::test]
async fn every_row_that_was_edited_is_a_difference() {
    let db = lived().await;
    let paid: Vec<String> = db.rows("SELECT id FROM payment WHERE status = 'paid' ORDER BY id LIMIT 4").await;
    let [status, currency, metadata, gone] = paid.as_slice() else { panic!("{paid:?}") };
    for sql in [
        format!("UPDATE payment SET status = 'failed' WHERE id = '{status}'"),
        format!("UPDATE payment SET currency = 'XAU' WHERE id = '{currency}'"),
        format!("UPDATE payment SET metadata = '{{}}' WHERE id = '{metadata}'"),
        format!("DELETE FROM payment WHERE id = '{gone}'"),
        "UPDATE refund SET reason = 'because' WHERE id = (SELECT min(id) FROM refund)".to_owned(),
        "UPDATE merchant_order SET amount_paid = 1 WHERE id = 'kept'".to_owned(),
        "UPDATE event SET state = 'dead' WHERE seq = (SELECT min(seq) FROM event)".to_owned(),
    ] {
        db.tamper(&sql).await;
    }
    let stored = Stored::read(&db).await.expect("it reads");
    let proof = prove_stored(&stored, Options { runs: 1, seed: 1 }, |_, _| {}).await.expect("it runs");
    assert!(!proof.holds());
    let found = |noun| proof.differences.iter().filter(|difference| difference.subject.noun == noun).count();
    assert_eq!(["event", "order", "payment", "refund", "dispute"].map(found), [1, 1, 4, 1, 0], "{proof:#?}");
    assert!(proof.differences.iter().all(|difference| difference.seed.is_none()), "{:#?}", proof.differences);
    for id in &paid {
        assert!(proof.differences.iter().any(|difference| difference.subject.id == *id), "{id}: {proof:#?}");
    }
    assert_ne!(proof.stored_hash.as_ref(), Some(&proof.runs[0].hash));
    assert_eq!(proof.runs[0].hash, proof.runs[1].hash, "the runs know nothing of it");
}

#[tokio::test]
async fn events_without_a_body_are_left_out_and_counted() {
    let db = lived().await;
    db.tamper("DELETE FROM event_body WHERE seq IN (SELECT seq FROM event ORDER BY seq LIMIT 3)").await;
    let stored = Stored::read(&db).await.expect("it reads");
    let proof = prove_stored(&stored, OPTIONS, |_, _| {}).await.expect("it runs");
    assert!(proof.holds(), "{proof:#?}");
    assert_eq!((proof.events_without_body, proof.stored_hash), (3, None));
    assert_eq!(proof.events, lives(16, 20).len() - 3);
}
