//! The same events in any order, any batches and any number of times: the same state.

use domain::{DisputeStatus, PaymentStatus};
use gateways::stripe::sample::{LifeKind, Overrides, Sampler};
use store::PaymentFilter;

use crate::it::scratch::{NOW, Scratch, as_gateways_deliver, delivery, lives};

#[tokio::test]
async fn order_batches_and_duplicates_make_no_difference() {
    let events = lives(21, 120);
    let mut first: Option<Vec<String>> = None;
    for (seed, accepted_at_once, applied_after) in [(1, 1000, 1), (2, 1, 40), (3, 17, 3), (4, 256, 2), (5, 64, 1000)] {
        let db = Scratch::new().await;
        for (number, batch) in (1..).zip(as_gateways_deliver(&events, seed).chunks(accepted_at_once)) {
            db.accepted(batch, NOW.plus_micros(number)).await;
            if number % applied_after == 0 {
                db.apply_all().await;
            }
        }
        db.apply_all().await;
        assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, [], "seed {seed}");
        let state = db.state().await;
        let expected = first.get_or_insert_with(|| state.clone());
        assert_eq!(state.len(), expected.len(), "seed {seed}");
        for (one, other) in state.iter().zip(expected) {
            assert_eq!(one, other, "seed {seed}");
        }
    }
}

/// Every kind of life, backwards, event by event: it comes to what it is.
#[tokio::test]
async fn a_life_told_backwards_comes_to_the_same() {
    let db = Scratch::new().await;
    let mut sampler = Sampler::new(31);
    let all: Vec<_> = LifeKind::ALL.into_iter().map(|kind| sampler.life(kind, NOW, &Overrides::default())).collect();
    for life in &all {
        for event in life.events.iter().rev() {
            db.accepted(&[delivery(&event.body)], NOW).await;
            db.apply_all().await;
        }
    }
    for life in &all {
        let of_order = PaymentFilter { order_id: Some(life.order_id.clone()), ..PaymentFilter::default() };
        let payments = db.list_payments(&of_order, 5).await.unwrap();
        let told: Vec<(PaymentStatus, DisputeStatus, i64, i64)> = payments
            .iter()
            .map(|row| &row.payment)
            .map(|p| (p.status, p.dispute_status, p.amount_captured.units(), p.amount_refunded.units()))
            .collect();
        let expected =
            (life.expected, life.expected_dispute, life.amount_captured.units(), life.amount_refunded.units());
        assert_eq!(told, [expected], "{:?}", life.kind);
        let order = db.show_order(None, &life.order_id).await.unwrap().expect("it is there");
        assert_eq!(order.payment_status, life.expected, "{:?}", life.kind);
    }
    assert_eq!(engine::rebuild::check(&db).await.unwrap().differences, []);
}
