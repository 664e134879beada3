//! What is wrong in the database is said, and changes nothing.

use store::{Error, PaymentFilter, Prepared};

use crate::scratch::{NOW, Scratch, account, at, created, prepare, refund, succeeded};

on_each!(
    a_corrupt_payment_rolls_back_its_batch,
    a_corrupt_payment_is_named,
    a_statement_that_fails_rolls_back_its_batch,
    a_rejected_acceptance_leaves_nothing,
    a_database_that_is_locked_is_unavailable,
    a_store_that_is_closed_is_unavailable,
);

async fn a_corrupt_payment_rolls_back_its_batch(db: Scratch) {
    let cases = [
        ("no JSON", "UPDATE payment SET facts = '{' WHERE gateway_transaction_id = 'pi_1'", "payment"),
        ("another shape", "UPDATE payment SET facts = '[7]' WHERE gateway_transaction_id = 'pi_1'", "payment"),
        (
            "a debt",
            "UPDATE payment SET facts = replace(facts, '1999', '-1999') WHERE gateway_transaction_id = 'pi_1'",
            "payment",
        ),
        ("no mode", "UPDATE payment SET mode = 'both' WHERE gateway_transaction_id = 'pi_1'", "payment"),
        ("gone", "DELETE FROM payment WHERE gateway_transaction_id = 'pi_1'", "payment"),
        ("no amount", "UPDATE merchant_order SET amount_due = -1", "merchant_order"),
    ];
    for (name, sql, expected) in cases {
        let db = Scratch::sqlite().await;
        db.lived_through(&[created("evt_1", "pi_1", "6735")]).await;
        assert!(db.tamper(sql).await > 0, "{name}");
        db.accepted(&[created("evt_2", "pi_2", ""), succeeded("evt_3", "pi_1", "6735"), created("evt_4", "pi_3", "")])
            .await;
        let batch: Vec<Prepared> = db.claimed(at(1)).await.iter().map(prepare).collect();
        let before = db.dump().await;
        match db.apply(&account("default"), batch.clone(), at(1)).await {
            Err(Error::Corrupt { table, .. }) => assert_eq!(table, expected, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(db.dump().await, before, "{name}");
        for sound in [&batch[..1], &batch[2..]] {
            db.apply(&account("default"), sound.to_vec(), at(1))
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    drop(db);
}

async fn a_corrupt_payment_is_named(db: Scratch) {
    db.lived_through(&[succeeded("evt_1", "pi_1", "6735")]).await;
    let id = db.value("SELECT id FROM payment").await;
    db.tamper("UPDATE payment SET facts = 'nonsense'").await;
    let errors = [
        db.show_payment(None, &id).await.map(drop).unwrap_err(),
        db.list_payments(&PaymentFilter::default(), 5).await.map(drop).unwrap_err(),
        db.stored_payments(&account("default"), "", 5).await.map(drop).unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains(&id) && matches!(error, Error::Corrupt { table: "payment", .. }), "{error}");
    }
}

/// Makes the database refuse such rows of a table.
async fn refuse(db: &Scratch, table: &str, condition: &str) {
    let body = "BEGIN SELECT raise(ABORT, 'refused'); END";
    let sqlite = format!("CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN {condition} {body}");
    let body = "BEGIN RAISE EXCEPTION 'refused'; END";
    let postgres = format!(
        "CREATE FUNCTION refusal() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$;
         CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refusal()"
    );
    db.tamper(if db.is_postgres() { &postgres } else { &sqlite }).await;
}

/// Makes it take them again.
async fn allow(db: &Scratch) {
    db.tamper(if db.is_postgres() { "DROP FUNCTION refusal CASCADE" } else { "DROP TRIGGER refuse" }).await;
}

/// Nearly the last statement of a batch: what came before it is undone.
async fn a_statement_that_fails_rolls_back_its_batch(db: Scratch) {
    refuse(&db, "history", "new.subject = 'refund'").await;
    db.accepted(&[succeeded("evt_1", "pi_1", "6735"), refund("evt_2", "re_1", "ch_1", "pi_1", 500)]).await;
    let batch: Vec<Prepared> = db.claimed(NOW).await.iter().map(prepare).collect();
    let before = db.dump().await;
    let error = db.apply(&account("default"), batch.clone(), NOW).await.unwrap_err();
    assert!(matches!(error, Error::Db(_)), "{error:?}");
    assert_eq!(db.dump().await, before);
    allow(&db).await;
    db.apply(&account("default"), batch.clone(), NOW).await.unwrap();
    assert_eq!(db.value("SELECT payment_status FROM orders").await, "partially_refunded");
}

async fn a_rejected_acceptance_leaves_nothing(db: Scratch) {
    refuse(&db, "batch", "true").await;
    let before = db.dump().await;
    assert!(matches!(db.accepting(&[succeeded("evt_1", "pi_1", "")], NOW).await, Err(Error::Db(_))));
    assert_eq!(db.dump().await, before);
    allow(&db).await;
    assert_eq!(db.accepted(&[succeeded("evt_1", "pi_1", "")]).await, [store::Receipt::New]);
}

async fn a_database_that_is_locked_is_unavailable(db: Scratch) {
    let locked = db.database().locked().await;
    let error = db.accepting(&[succeeded("evt_1", "pi_1", "")], NOW).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!(db.backlog().await.unwrap().events, 0, "readers go on");
    locked.release().await;
    db.accepted(&[succeeded("evt_1", "pi_1", "")]).await;
}

async fn a_store_that_is_closed_is_unavailable(db: Scratch) {
    db.ping().await.unwrap();
    db.close().await;
    let mut errors = vec![db.ping().await.unwrap_err(), db.backlog().await.map(drop).unwrap_err()];
    if !db.is_postgres() {
        errors.push(db.checkpoint().await.unwrap_err());
    }
    for error in errors {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
}
