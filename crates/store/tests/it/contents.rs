//! What deriving all state again reads.

use crate::scratch::{Scratch, account, at, created, refund, succeeded, unrelated};

on_each!(everything_stored_is_paged_through, statements_are_of_events_that_were_applied);

async fn everything_stored_is_paged_through(db: Scratch) {
    let batch: Vec<_> = (0..7).map(|n| succeeded(&format!("evt_{n}"), &format!("pi_{n}"), &format!("{n}"))).collect();
    db.lived_through(&batch).await;
    db.lived_through(&[refund("evt_r", "re_1", "ch_x", "pi_x", 500)]).await;
    let default = account("default");
    let (mut payments, mut orders, mut statements) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(next) =
        db.stored_payments(&default, payments.last().map_or("", String::as_str), 1).await.unwrap().pop()
    {
        assert_eq!(next.visible, next.status == "paid", "hidden ones too");
        payments.push(next.id);
    }
    while let Some(next) = db.stored_orders(&default, orders.last().map_or("", String::as_str), 1).await.unwrap().pop()
    {
        assert_eq!((next.payment_status.as_str(), next.amount_paid, next.due), ("paid", 1999, None));
        orders.push(next.id);
    }
    while let Some(next) = db.statements(&default, statements.last().copied().unwrap_or(0), 1).await.unwrap().pop() {
        statements.push(next.seq);
    }
    assert_eq!((payments.len(), orders.len(), statements.len()), (8, 7, 8));
    assert!(payments.is_sorted() && orders.is_sorted() && statements.is_sorted());
    assert_eq!(db.accounts().await.unwrap(), [default]);
}

async fn statements_are_of_events_that_were_applied(db: Scratch) {
    db.lived_through(&[created("evt_1", "pi_1", ""), unrelated("evt_2")]).await;
    let mut kept_aside = created("evt_3", "pi_3", "");
    kept_aside.ignored_because = Some("its mode is not the endpoint's");
    db.accepted(&[kept_aside, created("evt_4", "pi_4", "")]).await;
    let statements = db.statements(&account("default"), 0, 9).await.unwrap();
    let ids: Vec<&str> = statements.iter().map(|statement| statement.event_id.as_str()).collect();
    assert_eq!(ids, ["evt_1", "evt_2"], "not of what is pending, or was kept aside");
    assert_eq!(statements[0].bodies, [created("evt_1", "pi_1", "").body]);
    assert!(statements[0].creates && statements[0].facts.creates && statements[1].facts.is_empty());
    db.replay_events(&Default::default(), at(9)).await.unwrap();
    assert_eq!(db.statements(&account("default"), 0, 9).await.unwrap().len(), 2, "nor do they vanish by a replay");
}
