//! Whether it works, for load balancers and people.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::it::app::{NOW, Reply, TestApp, about};

async fn open(app: &TestApp, path: &str) -> Reply {
    app.send(Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn health_says_what_waits_and_how_long() {
    let app = TestApp::new().await;
    let healthy = open(&app, "/api/webhooks/health").await;
    assert_eq!(
        healthy.json(),
        json!({"status": "ok", "database": "ok", "backlog": 0, "oldest_pending_seconds": 0,
               "version": env!("CARGO_PKG_VERSION")})
    );
    app.accept(about("payment_intent.created", "pi_1", "6735")).await;
    app.settled().await;
    app.database().execute("UPDATE payment SET facts = 'nonsense'").await;
    app.accept(about("payment_intent.succeeded", "pi_1", "6735")).await; // It cannot be applied.
    for (seconds, status) in [(0, "ok"), (60, "ok"), (61, "degraded"), (3600, "degraded")] {
        app.clock.set(NOW.plus_micros(seconds * 1_000_000));
        let reply = open(&app, "/api/webhooks/health").await;
        let health = reply.json();
        assert_eq!((reply.status.as_u16(), &health["status"]), (200, &json!(status)), "after {seconds} s");
        assert_eq!((&health["backlog"], &health["oldest_pending_seconds"]), (&json!(1), &json!(seconds)));
    }
    app.clock.set(NOW.plus_micros(-10_000_000));
    assert_eq!(
        open(&app, "/api/webhooks/health").await.json()["oldest_pending_seconds"],
        0,
        "a clock that was put back"
    );
    app.leave_pending().await;
}

#[tokio::test]
async fn without_its_database_it_lives_but_is_not_ready() {
    let app = TestApp::new().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(open(&app, path).await.status.as_u16(), 200, "{path}");
    }
    let key = app.key(store::KeyScope::Read, None).await;
    app.store.close().await;
    assert_eq!(open(&app, "/healthz").await.status.as_u16(), 200);
    assert_eq!(open(&app, "/readyz").await.status.as_u16(), 503);
    let reply = open(&app, "/api/webhooks/health").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["database"]), (503, &json!("unavailable")));
    app.get_as(&key, "/api/payments").await.is_problem(503, "unavailable");
    app.leave_pending().await;
}
