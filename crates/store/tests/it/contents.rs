//! What a look at everything stored reads.

use crate::scratch::{Scratch, account, at, created, refund, succeeded, unrelated};

on_each!(everything_stored_is_paged_through, statements_are_of_events_that_were_applied);

async fn everything_stored_is_paged_through(db: Scratch) {
    let batch: Vec<_> = (0..7).map(|n| succeeded(&format!("evt_{n}"), &format!("pi_{n}"), &format!("{n}"))).collect();
    db.lived_through(&batch).await;
    db.lived_through(&[refund("evt_r", "re_1", "ch_x", "pi_x", 500)]).await;
    let default = account("default");
    let mut payments: Vec<String> = Vec::new();
    while let Some(next) =
        db.stored_payments(&default, payments.last().map_or("", String::as_str), 1).await.unwrap().pop()
    {
        assert_eq!(next.visible, next.status == "paid", "hidden ones too");
        payments.push(next.id);
    }
    assert!(payments.len() == 8 && payments.is_sorted());
    let orders = db.list_orders(None, None, 9).await.unwrap();
    assert!(orders.iter().all(|o| (o.payment_status.as_str(), o.amount_paid, o.amount) == ("paid", 1999, None)));
    assert_eq!((orders.len(), db.stated().await.len()), (7, 8));
    assert_eq!(db.accounts().await.unwrap(), [default]);
}

async fn statements_are_of_events_that_were_applied(db: Scratch) {
    db.lived_through(&[created("evt_1", "pi_1", ""), unrelated("evt_2")]).await;
    let mut kept_aside = created("evt_3", "pi_3", "");
    kept_aside.ignored_because = Some("its mode is not the endpoint's");
    db.accepted(&[kept_aside, created("evt_4", "pi_4", "")]).await;
    let statements = db.stated().await;
    let ids: Vec<&str> = statements.iter().map(|statement| statement.event_id.as_str()).collect();
    assert_eq!(ids, ["evt_1", "evt_2"], "not of what is pending, or was kept aside");
    assert!(statements[0].bodies == 1 && statements[0].facts.creates && statements[1].facts.is_empty());
    db.replay_events(&Default::default(), at(9)).await.unwrap();
    assert_eq!(db.stated().await.len(), 2, "nor do they vanish by a replay");
}
