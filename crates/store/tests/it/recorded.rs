//! What a proof reads: events as they were delivered, and the rows that people see.

use domain::{AccountId, Money};
use serde_json::{Value, json};
use store::{NewEvent, NewOrder, PublicRow, PublicTable};

use crate::scratch::{NOW, Scratch, account, at, created, delivery, dispute, refund, succeeded, unrelated};

on_each!(events_are_as_they_were_delivered, rows_are_as_people_see_them, rows_of_another_account_are_not_there);

async fn events_are_as_they_were_delivered(db: Scratch) {
    let mut rendering = succeeded("evt_1", "pi_1", "6735");
    (rendering.api_version, rendering.endpoint) = (None, "/webhooks/stripe".to_owned());
    let mut aside = created("evt_2", "pi_2", "");
    (aside.ignored_because, aside.connected_account) = (Some("its mode is not the endpoint's"), "acct_1".to_owned());
    (aside.creates, aside.received_at) = (false, at(7));
    let broken = delivery("evt_3", "customer.created", *b"\xff").in_json(false).holding_mismatch(true);
    let first = created("evt_1", "pi_1", "6735");
    db.accepted(&[first.clone(), aside.clone(), broken.clone()]).await;
    db.accepted(&[rendering.clone(), first.clone()]).await;

    let default = account("default");
    let mut events = Vec::new();
    while let Some(next) = db
        .recorded_events(&default, events.last().map_or(0, |event: &store::RecordedEvent| event.seq), 1)
        .await
        .unwrap()
        .pop()
    {
        events.push(next);
    }
    assert_eq!(db.recorded_events(&default, 0, 9).await.unwrap(), events, "in one page");
    let as_delivered = |event: &NewEvent| {
        let NewEvent { gateway, mode, connected_account, event_id, event_type, .. } = event.clone();
        (
            gateway.to_owned(),
            mode,
            connected_account,
            event_id,
            event_type,
            event.api_version.clone(),
            event.gateway_time,
        )
    };
    for (stored, event) in events.iter().zip([&first, &aside, &broken]) {
        let store::RecordedEvent { gateway, mode, connected_account, event_id, event_type, .. } = stored.clone();
        let identity =
            (gateway, mode, connected_account, event_id, event_type, stored.api_version.clone(), stored.gateway_time);
        assert_eq!(identity, as_delivered(event));
        assert_eq!(
            (&stored.endpoint, stored.creates, stored.received_at),
            (&event.endpoint, event.creates, event.received_at)
        );
        assert_eq!(stored.body.as_deref(), Some(&event.body[..]));
    }
    let told: Vec<_> = events.iter().map(|event| (event.kept_aside, event.is_json, event.holds_mismatch)).collect();
    assert_eq!(told, [(false, true, false), (true, true, false), (false, false, true)]);
    let renderings: Vec<usize> = events.iter().map(|event| event.renderings.len()).collect();
    assert_eq!(renderings, [1, 0, 0], "what came again is none");
    let store::RecordedRendering { api_version, endpoint, body } = events[0].renderings[0].clone();
    assert_eq!((api_version, endpoint, &body[..]), (None, rendering.endpoint, &rendering.body[..]));

    db.tamper("DELETE FROM event_body").await;
    let events = db.recorded_events(&default, 0, 9).await.unwrap();
    assert!(events.iter().all(|event| event.body.is_none()) && events.len() == 3);
}

async fn all_rows(db: &Scratch, account: &AccountId, table: PublicTable) -> Vec<PublicRow> {
    let mut rows: Vec<PublicRow> = Vec::new();
    while let Some(next) =
        db.public_rows(account, table, rows.last().map_or("", |row| row.id.as_str()), 1).await.unwrap().pop()
    {
        rows.push(next);
    }
    assert_eq!(db.public_rows(account, table, "", 99).await.unwrap(), rows, "in one page");
    rows
}

async fn rows_are_as_people_see_them(db: Scratch) {
    let default = account("default");
    let due =
        Money { amount: domain::money::Minor::new(1999).unwrap(), currency: domain::Currency::parse("USD").unwrap() };
    let customer = Some(r#"{"name":"Ada"}"#.to_owned());
    let order = NewOrder { id: "6735".to_owned(), due, customer, metadata: None };
    db.register_order(&default, order, None, NOW).await.unwrap().unwrap();
    db.lived_through(&[
        succeeded("evt_1", "pi_1", "6735"),
        refund("evt_2", "re_1", "ch_1", "pi_1", 500),
        dispute("evt_3", "dp_1", "ch_1", "pi_1"),
        refund("evt_4", "re_2", "ch_2", "pi_nobody", 500),
    ])
    .await;
    let column = |row: &PublicRow, name: &str| row.columns.get(name).cloned().unwrap_or_else(|| panic!("no {name}"));

    let payments = all_rows(&db, &default, PublicTable::Payments).await;
    assert_eq!(payments.len(), 1, "not those that are hidden");
    let payment = &payments[0];
    assert_eq!(column(payment, "status"), "partially_refunded");
    assert_eq!(column(payment, "amount_refunded"), 500);
    assert_eq!(column(payment, "captured_at"), NOW.micros());
    assert_eq!(column(payment, "metadata")["order_id"], "6735", "as JSON");
    assert_eq!(column(payment, "description"), Value::Null);
    let orders = all_rows(&db, &default, PublicTable::Orders).await;
    assert_eq!((orders[0].id.as_str(), column(&orders[0], "customer")), ("6735", json!({ "name": "Ada" })));
    assert_eq!((column(&orders[0], "amount_due"), column(&orders[0], "amount_paid")), (json!(1999), json!(1999)));
    let refunds = all_rows(&db, &default, PublicTable::Refunds).await;
    assert_eq!(refunds.len(), 2);
    assert!(refunds.iter().any(|row| column(row, "payment_id") == payment.id.as_str()), "{refunds:?}");
    let disputes = all_rows(&db, &default, PublicTable::Disputes).await;
    assert_eq!((disputes.len(), column(&disputes[0], "net")), (1, json!(-3499)));
    assert_eq!(all_rows(&db, &default, PublicTable::Bookings).await, []);

    db.tamper("UPDATE payment SET flags = 'no JSON'").await;
    assert_eq!(
        column(&all_rows(&db, &default, PublicTable::Payments).await[0], "flags"),
        "no JSON",
        "it is what it is"
    );
}

async fn rows_of_another_account_are_not_there(db: Scratch) {
    db.lived_through(&[succeeded("evt_1", "pi_1", "6735"), unrelated("evt_2")]).await;
    let nobody = account("nobody");
    for table in PublicTable::ALL {
        assert_eq!(db.public_rows(&nobody, table, "", 9).await.unwrap(), [], "{table:?}");
    }
    assert_eq!(db.recorded_events(&nobody, 0, 9).await.unwrap(), []);
}
