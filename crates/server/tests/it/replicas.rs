//! Three servers on one database, none of them special.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::Clock;
use gateways::Gateway;
use serde_json::json;
use server::Endpoint;
use server::endpoint::{Reply, Unmatched};
use testdb::Database;
use tokio::task::JoinSet;

use crate::it::app::{NOW, TestApp, secret};
use crate::it::bookings::checkout;
use crate::it::built_in::BOOKINGS;
use crate::it::gateway::path;

const REPLICAS: usize = 3;
const GUESTS: usize = 100;

/// Each takes the webhooks of bookings and replies what became of them.
async fn replicas(database: &Database) -> Vec<TestApp> {
    let clock = Clock::manual(NOW);
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        let endpoint = Endpoint::new(BOOKINGS, Gateway::Stripe, vec![secret("whsec_test")]);
        let endpoint = Endpoint { reply: Reply::Applied, unmatched: Unmatched::Reject, ..endpoint };
        replicas.push(TestApp::on(Database::at(database.url()), clock.clone(), [endpoint]).await);
    }
    replicas
}

/// A hundred guests pay for the same nights at once. What pays for a third of them is
/// delivered to two servers at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_paid_at_once_through_three_servers_exactly_one_is_confirmed() {
    let database = crate::database().await;
    let servers = Arc::new(replicas(&database).await);
    servers[0].made("/api/resources", json!({"id": "cabin", "name": "Cabin by the lake"})).await;
    for guest in 0..GUESTS {
        let booking = json!({
            "id": format!("g{guest}"), "resource_id": "cabin", "start": "2026-12-01", "end": "2026-12-05",
            "amount": 1500, "currency": "USD", "session_id": format!("cs_g{guest}"),
        });
        servers[guest % REPLICAS].made("/api/bookings", booking).await;
    }

    let locked = database.locked().await;
    let mut paying = JoinSet::new();
    for guest in 0..GUESTS {
        let body = checkout(&format!("g{guest}"), "completed", json!({}));
        let times = if guest % 3 == 0 { 2 } else { 1 };
        for time in 0..times {
            let (servers, body) = (servers.clone(), body.clone());
            paying.spawn(async move { (guest, servers[(guest + time) % REPLICAS].deliver(BOOKINGS, body).await) });
        }
    }
    locked.release().await; // Now all of them go on.
    let (mut confirmed, mut cancelled) = (BTreeSet::new(), BTreeSet::new());
    for (guest, reply) in paying.join_all().await {
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        let told = match reply.json()["message"].as_str().expect("what became of it") {
            "Booking confirmed" => &mut confirmed,
            "Booking cancelled: dates no longer available" => &mut cancelled,
            _ => panic!("{}", reply.text),
        };
        told.insert(format!("g{guest}"));
    }
    assert_eq!((confirmed.len(), cancelled.len()), (1, GUESTS - 1));

    let app = &servers[0];
    let winner = confirmed.first().expect("one");
    let ends = "SELECT status, payment_status, reason, lost_to, count(*) FROM bookings GROUP BY 1, 2, 3, 4 ORDER BY 1";
    let lost = ["cancelled".to_owned(), "paid".into(), "dates_unavailable".into(), winner.clone(), "99".into()];
    let won = ["confirmed", "paid", "NULL", "NULL", "1"].map(str::to_owned);
    assert_eq!(app.rows(ends).await, [lost, won]);
    assert_eq!(app.rows("SELECT id FROM bookings WHERE status = 'confirmed'").await, [[winner.clone()]]);
    assert_eq!(app.path_of("booking", winner).await, path(&["pending", "confirmed"]));
    assert_eq!(app.notices(winner).await, [("booking.confirmed".to_owned(), 1)]);
    for loser in &cancelled {
        assert_eq!(app.path_of("booking", loser).await, path(&["pending", "cancelled"]), "{loser}");
        assert_eq!(app.notices(loser).await, [("booking.cancelled".to_owned(), 1)], "{loser}");
    }
    for server in Arc::into_inner(servers).expect("all have paid") {
        let store = server.store.clone();
        server.finish_sound().await;
        store.close().await;
    }
    assert_eq!(database.deadlocks().await, 0);
}
