//! Reading payments, orders and their history.

use domain::PaymentStatus;
use store::{EventFilter, HistoryRow, PaymentFilter};

use crate::scratch::{NOW, Scratch, account, at, created, intent, refund, session, succeeded};

on_each!(
    payments_are_listed_by_what_is_asked,
    pages_of_payments_and_orders_lose_nothing,
    an_old_id_leads_to_the_payment_that_it_became,
    an_order_that_several_accounts_have_is_said_to_be,
    payments_are_counted_by_status,
    history_is_in_the_order_of_observation,
    hidden_payments_are_not_shown,
);

async fn payments_are_listed_by_what_is_asked(db: Scratch) {
    let mut elsewhere = succeeded("evt_4", "pi_4", "6735");
    elsewhere.account = account("shop");
    db.lived_through(&[
        succeeded("evt_1", "pi_1", "6735"),
        created("evt_2", "pi_2", "6735"),
        intent("evt_3", "payment_intent.canceled", "pi_3", "canceled", "7001"),
    ])
    .await;
    db.accepted(&[elsewhere]).await;
    let of_shop: Vec<_> = db
        .claim(&account("shop"), store::Place::START, NOW, 9)
        .await
        .unwrap()
        .iter()
        .map(crate::scratch::prepare)
        .collect();
    db.apply(&account("shop"), of_shop.clone(), NOW).await.unwrap();
    let all = PaymentFilter::default;
    let cases: Vec<(PaymentFilter, &[&str])> = vec![
        (all(), &["pi_4", "pi_3", "pi_2", "pi_1"]),
        (PaymentFilter { account: Some(account("default")), ..all() }, &["pi_3", "pi_2", "pi_1"]),
        (PaymentFilter { account: Some(account("shop")), ..all() }, &["pi_4"]),
        (PaymentFilter { status: Some(PaymentStatus::Paid), ..all() }, &["pi_4", "pi_1"]),
        (PaymentFilter { status: Some(PaymentStatus::Refunded), ..all() }, &[]),
        (PaymentFilter { order_id: Some("6735".to_owned()), ..all() }, &["pi_4", "pi_2", "pi_1"]),
        (PaymentFilter { order_id: Some("none".to_owned()), ..all() }, &[]),
    ];
    for (filter, expected) in cases {
        let rows = db.list_payments(&filter, 10).await.unwrap();
        let found: Vec<&str> =
            rows.iter().map(|row| row.payment.gateway_transaction_id.as_deref().expect("an intent")).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let orders = db.list_orders(Some(&account("shop")), None, 10).await.unwrap();
    assert_eq!((orders.len(), orders[0].id.as_str(), orders[0].amount), (1, "6735", None));
    let newest_first: Vec<String> = db.list_orders(None, None, 10).await.unwrap().into_iter().map(|o| o.id).collect();
    assert_eq!(newest_first, ["6735", "7001", "6735"]);
}

async fn pages_of_payments_and_orders_lose_nothing(db: Scratch) {
    let batch: Vec<_> =
        (0..120).map(|n| succeeded(&format!("evt_{n}"), &format!("pi_{n}"), &format!("order {n}"))).collect();
    db.lived_through(&batch).await;
    let mut filter = PaymentFilter::default();
    let (mut payments, mut orders, mut before) = (Vec::new(), Vec::new(), None);
    loop {
        let page = db.list_payments(&filter, 50).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.number);
        payments.extend(page.into_iter().map(|row| row.payment.order_id.expect("an order")));
    }
    loop {
        let page = db.list_orders(None, before, 50).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.row);
        orders.extend(page.into_iter().map(|row| row.id));
    }
    let newest_first: Vec<String> = (0..120).rev().map(|n| format!("order {n}")).collect();
    assert_eq!(payments, newest_first);
    assert_eq!(orders, newest_first);
}

/// A session seems to be a payment of its own until it names its intent.
async fn an_old_id_leads_to_the_payment_that_it_became(db: Scratch) {
    let mut early = refund("evt_0", "re_1", "ch_1", "pi_1", 500);
    early.received_at = at(-60);
    db.lived_through(&[early, session("evt_1", "cs_1", "", "6735")]).await;
    let old = db.list_payments(&PaymentFilter::default(), 9).await.unwrap().remove(0);
    assert_eq!(old.payment.gateway_transaction_id.as_deref(), Some("cs_1"));
    db.lived_through(&[session("evt_2", "cs_1", "pi_1", "6735")]).await;

    let payments = db.list_payments(&PaymentFilter::default(), 9).await.unwrap();
    assert_eq!(payments.len(), 1, "there is one payment, and the early refund is its own");
    let payment = &payments[0].payment;
    assert_eq!(payment.gateway_transaction_id.as_deref(), Some("pi_1"));
    assert_eq!((payment.status, payment.amount_refunded.units()), (PaymentStatus::PartiallyRefunded, 500));
    assert_ne!(payment.id, old.payment.id);
    for id in [&payment.id, &old.payment.id] {
        for asked in [None, Some(account("default"))] {
            let found = db.show_payment(asked.as_ref(), id).await.unwrap().expect("it is found");
            assert_eq!(found.payment.id, payment.id, "by {id}");
        }
        let filter = EventFilter { payment: Some(id.clone()), ..EventFilter::default() };
        assert_eq!(db.count_events(&filter).await.unwrap(), 3, "and its events by {id}");
        assert!(db.show_payment(Some(&account("shop")), id).await.unwrap().is_none());
    }
    let history = db.history_of_payment(&account("default"), &payment.id).await.unwrap();
    let own = history.iter().filter(|row| row.subject == "payment");
    let path: Vec<_> = own.map(|row| (row.from.as_deref(), row.to.as_str())).collect();
    assert_eq!(path, [(None, "paid"), (Some("paid"), "partially_refunded")], "one history");
    assert_eq!(db.history_of_payment(&account("default"), &old.payment.id).await.unwrap(), []);
    assert!(history.iter().all(|row| row.payment_id == payment.id));
    assert_eq!(db.value("SELECT payment_id FROM refunds").await, payment.id);
    assert_eq!(db.value("SELECT count(*) FROM gateway_object o JOIN payment p ON p.id = o.payment_id").await, "4");
    let order = db.show_order(None, "6735").await.unwrap().expect("it is there");
    assert_eq!((order.amount_paid, order.amount_refunded), (1999, 500), "counted once");
}

async fn an_order_that_several_accounts_have_is_said_to_be(db: Scratch) {
    for name in ["a", "b"] {
        let mut event = succeeded("evt_1", "pi_1", "6735");
        event.account = account(name);
        db.accepted(&[event]).await;
        let batch: Vec<_> = db
            .claim(&account(name), store::Place::START, NOW, 9)
            .await
            .unwrap()
            .iter()
            .map(crate::scratch::prepare)
            .collect();
        db.apply(&account(name), batch.clone(), NOW).await.unwrap();
    }
    assert!(matches!(db.show_order(None, "6735").await, Err(store::Error::Conflict(_))));
    for name in ["a", "b"] {
        let order = db.show_order(Some(&account(name)), "6735").await.unwrap().expect("it is there");
        assert_eq!(order.account, account(name));
    }
    assert!(db.show_order(None, "nobody's").await.unwrap().is_none());
}

async fn payments_are_counted_by_status(db: Scratch) {
    db.lived_through(&[
        succeeded("evt_1", "pi_1", ""),
        succeeded("evt_2", "pi_2", ""),
        created("evt_3", "pi_3", ""),
        refund("evt_4", "re_1", "ch_4", "pi_4", 500),
    ])
    .await;
    let counts = db.count_payments(&account("default")).await.unwrap();
    assert_eq!(counts, [(PaymentStatus::Paid, 2), (PaymentStatus::Pending, 1)], "what is hidden does not count");
    assert_eq!(db.count_payments(&account("shop")).await.unwrap(), []);
}

async fn history_is_in_the_order_of_observation(db: Scratch) {
    db.lived_through(&[
        created("evt_1", "pi_1", "6735"),
        succeeded("evt_2", "pi_1", "6735"),
        refund("evt_3", "re_1", "ch_1", "pi_1", 1999),
        succeeded("evt_4", "pi_1", "6735"),
    ])
    .await;
    let payment = db.list_payments(&PaymentFilter::default(), 1).await.unwrap().remove(0).payment;
    let of_payment = db.history_of_payment(&account("default"), &payment.id).await.unwrap();
    let of_order = db.history_of_order(&account("default"), "6735").await.unwrap();
    let told = |history: &[HistoryRow]| -> Vec<String> {
        let line = |row: &HistoryRow| format!("{} {} {}", row.event_id.as_deref().unwrap_or("?"), row.subject, row.to);
        history.iter().map(line).collect()
    };
    let expected = ["evt_1 payment pending", "evt_2 payment paid", "evt_3 payment refunded", "evt_3 refund succeeded"];
    assert_eq!(told(&of_payment), expected);
    assert_eq!(told(&of_order), ["evt_1 order pending", "evt_2 order paid", "evt_3 order refunded"]);
    let mut all = of_payment.iter().chain(&of_order);
    assert!(all.all(|row| row.payment_id == payment.id && row.at == at(3600)));
    assert_eq!(db.history_of_payment(&account("default"), "6735").await.unwrap(), []);
    assert_eq!(db.history_of_order(&account("default"), &payment.id).await.unwrap(), []);
}

async fn hidden_payments_are_not_shown(db: Scratch) {
    db.lived_through(&[refund("evt_1", "re_1", "ch_1", "pi_1", 500)]).await;
    let id = db.value("SELECT id FROM payment").await;
    assert!(db.show_payment(None, &id).await.unwrap().is_none());
    assert_eq!(db.list_payments(&PaymentFilter::default(), 9).await.unwrap().len(), 0);
    assert_eq!(db.value("SELECT count(*) FROM refunds").await, "1", "the refund is real");
}
