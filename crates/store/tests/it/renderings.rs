//! The same event in another API version.

use domain::PaymentStatus;
use store::{NewEvent, PaymentFilter, Prepared, Receipt, Settled};

use crate::scratch::{NOW, Scratch, account, at, created, prepare, succeeded};

on_each!(
    another_version_is_kept_and_its_facts_merged,
    the_same_version_is_no_rendering,
    no_version_is_a_version_too,
    a_rendering_may_come_in_its_events_batch,
    a_rendering_that_comes_while_its_event_is_applied_is_not_lost,
);

fn in_version(version: &str, mut event: NewEvent) -> NewEvent {
    event.api_version = Some(version.to_owned());
    event
}

async fn another_version_is_kept_and_its_facts_merged(db: Scratch) {
    db.lived_through(&[created("evt_1", "pi_1", "6735")]).await;
    let rendering = in_version("2019-05-16", succeeded("evt_1", "pi_1", "6735"));
    assert_eq!(db.accepted(std::slice::from_ref(&rendering)).await, [Receipt::Duplicate]);
    assert_eq!(db.value("SELECT count(*) FROM webhook_events").await, "1", "it is the same event");
    let claimed = db.claimed(NOW).await;
    assert_eq!(claimed.len(), 1, "to be applied again");
    assert_eq!(claimed[0].body, created("evt_1", "pi_1", "6735").body);
    assert_eq!(claimed[0].renderings, std::slice::from_ref(&rendering.body));
    db.applied(NOW).await;
    let payment = db.list_payments(&PaymentFilter::default(), 2).await.unwrap().remove(0);
    assert_eq!(payment.payment.status, PaymentStatus::Paid, "what either says counts");

    assert_eq!(db.accepted(&[rendering]).await, [Receipt::Duplicate]);
    assert_eq!(db.claimed(NOW).await.len(), 0, "known: nothing to do");
    let statements = db.stated().await;
    assert_eq!((statements.len(), statements[0].bodies), (1, 2));
    assert_eq!(db.verify_chain(&account("default")).await.unwrap().faults, []);
}

async fn the_same_version_is_no_rendering(db: Scratch) {
    db.lived_through(&[created("evt_1", "pi_1", "")]).await;
    assert_eq!(db.accepted(&[succeeded("evt_1", "pi_1", "")]).await, [Receipt::Duplicate]);
    assert_eq!(db.claimed(NOW).await.len(), 0);
    assert_eq!(db.value("SELECT count(*) FROM event_rendering").await, "0");
    assert_eq!(db.value("SELECT payment_status FROM payments").await, "pending", "the first body stays the body");
}

/// PayPal's first version does not say that it is one; whichever comes first, both count.
async fn no_version_is_a_version_too(db: Scratch) {
    let without = |mut event: NewEvent| {
        event.api_version = None;
        event
    };
    let of_order = [
        [without(created("evt_1", "pi_1", "")), in_version("2.0", succeeded("evt_1", "pi_1", ""))],
        [in_version("2.0", created("evt_2", "pi_2", "")), without(succeeded("evt_2", "pi_2", ""))],
    ];
    for deliveries in of_order {
        db.lived_through(&deliveries).await;
        assert_eq!(db.accepted(&deliveries).await, [Receipt::Duplicate, Receipt::Duplicate]);
        assert_eq!(db.claimed(NOW).await.len(), 0, "both are known");
    }
    assert_eq!(db.rows("SELECT payment_status FROM payments").await, [["paid"], ["paid"]]);
    assert_eq!(db.value("SELECT count(*) FROM event_rendering").await, "2");
    assert_eq!(db.verify_chain(&account("default")).await.unwrap().faults, []);
}

async fn a_rendering_may_come_in_its_events_batch(db: Scratch) {
    let batch = [
        in_version("2020-08-27", created("evt_1", "pi_1", "")),
        in_version("2019-05-16", succeeded("evt_1", "pi_1", "")),
        in_version("2018-05-21", created("evt_1", "pi_1", "")),
        in_version("2019-05-16", succeeded("evt_1", "pi_1", "")),
    ];
    assert_eq!(db.accepted(&batch).await, [Receipt::New, Receipt::Again, Receipt::Again, Receipt::Again]);
    let claimed = db.claimed(NOW).await;
    assert_eq!((claimed.len(), claimed[0].renderings.len()), (1, 2));
    db.applied(NOW).await;
    assert_eq!(db.value("SELECT payment_status FROM payments").await, "paid");
    let report = db.verify_chain(&account("default")).await.unwrap();
    assert_eq!((report.faults.as_slice(), report.events), (&[][..], 3));
}

async fn a_rendering_that_comes_while_its_event_is_applied_is_not_lost(db: Scratch) {
    for now in [NOW, at(60)] {
        let db = Scratch::sqlite().await;
        db.accepted(&[created("evt_1", "pi_1", "")]).await;
        let without: Vec<Prepared> = db.claimed(NOW).await.iter().map(prepare).collect();
        db.accepting(&[in_version("2019-05-16", succeeded("evt_1", "pi_1", ""))], now).await.unwrap();
        let settled = db.apply(&account("default"), without.clone(), now).await.unwrap();
        assert_eq!(settled, [Settled::Taken], "it is another event than was claimed");
        db.applied(now).await;
        assert_eq!(db.value("SELECT payment_status FROM payments").await, "paid");
        assert_eq!(db.backlog().await.unwrap().events, 0);
    }
    drop(db);
}
