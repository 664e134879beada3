//! The door's guards: how much may come from whom.

use std::num::NonZeroU32;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use gateways::stripe::{SIGNATURE_HEADER, sign};
use server::client_address::{ForwardedHeader, Peer, Proxies};
use server::endpoint::Secrets;
use server::limits::Rate;
use server::{Endpoint, Endpoints};

use crate::it::app::{HOOK, NOW, Reply, TestApp, post, secret, unrelated};

const OTHER_HOOK: &str = "/hooks/other";

fn a_second(number: u32, burst: u32) -> Rate {
    Rate::a_second(NonZeroU32::new(number).unwrap(), NonZeroU32::new(burst).unwrap())
}

fn endpoint(path: &str) -> Endpoint {
    Endpoint::stripe(path, vec![secret("whsec_test")])
}

/// A delivery signed with this secret, from this address.
fn from(address: &str, path: &str, key: &str, body: &str) -> Request<Body> {
    let signature = sign(&secret(key), NOW, body.as_bytes());
    let mut request = post(path, &[(SIGNATURE_HEADER, &signature)], body.to_owned());
    request.extensions_mut().insert(Peer(address.parse().unwrap()));
    request
}

async fn statuses(app: &TestApp, count: usize, request: impl Fn(usize) -> Request<Body>) -> Vec<u16> {
    let mut statuses = Vec::new();
    for number in 0..count {
        statuses.push(app.send(request(number)).await.status.as_u16());
    }
    statuses
}

#[track_caller]
fn is_too_many(reply: &Reply, seconds: &str) {
    reply.is_refusal(429);
    assert_eq!(reply.header("retry-after"), seconds);
}

#[tokio::test]
async fn an_address_may_send_so_many_to_an_endpoint() {
    let mut limited = endpoint(HOOK);
    limited.limits.of_an_address = Some(a_second(1, 3));
    let app = TestApp::with([limited, endpoint(OTHER_HOOK)]).await;
    let send = |address: &'static str, path: &'static str| {
        move |number: usize| {
            from(
                address,
                path,
                "whsec_test",
                &unrelated(&format!("evt_{address}_{path}_{number}").replace(['/', '.', ':'], "_")),
            )
        }
    };
    assert_eq!(statuses(&app, 5, send("192.0.2.1", HOOK)).await, [200, 200, 200, 429, 429]);
    is_too_many(&app.send(from("192.0.2.1", HOOK, "whsec_test", &unrelated("evt_more"))).await, "1");
    assert_eq!(statuses(&app, 3, send("192.0.2.2", HOOK)).await, [200, 200, 200], "another address has its own share");
    assert_eq!(statuses(&app, 5, send("192.0.2.1", OTHER_HOOK)).await, [200; 5], "and another endpoint none to keep");
    assert_eq!(statuses(&app, 4, send("2001:db8::1", HOOK)).await, [200, 200, 200, 429]);
    assert_eq!(statuses(&app, 1, send("2001:db8::2", HOOK)).await, [429], "of the same network");
    app.clock.set(NOW.plus_micros(2_000_000));
    assert_eq!(
        statuses(&app, 3, |number| from("192.0.2.1", HOOK, "whsec_test", &unrelated(&format!("evt_later_{number}"))))
            .await,
        [200, 200, 429]
    );
    app.finish().await;
}

#[tokio::test]
async fn all_together_may_send_so_many_to_an_endpoint() {
    let mut limited = endpoint(HOOK);
    limited.limits.of_all = Some(a_second(10, 4));
    let app = TestApp::with([limited]).await;
    let sent = statuses(&app, 6, |number| {
        from(&format!("192.0.2.{number}"), HOOK, "whsec_test", &unrelated(&format!("evt_{number}")))
    });
    assert_eq!(sent.await, [200, 200, 200, 200, 429, 429]);
    app.finish().await;
}

/// "The limit on failed signatures never refuses a delivery that is validly signed."
#[tokio::test]
async fn who_keeps_signing_wrongly_waits_and_who_signs_well_never_does() {
    let mut limited = endpoint(HOOK);
    limited.limits.failed_signatures = Rate::a_minute(3);
    let app = TestApp::with([limited, endpoint(OTHER_HOOK)]).await;
    let forged = |_| from("192.0.2.1", HOOK, "whsec_forged", &unrelated("evt_forged"));
    assert_eq!(statuses(&app, 5, forged).await, [400, 400, 400, 429, 429]);
    is_too_many(&app.send(forged(0)).await, "20");
    let unsigned = post(HOOK, &[], unrelated("evt_unsigned"));
    assert_eq!(app.send(unsigned).await.status.as_u16(), 400, "nobody is nobody else");
    let well = |number| from("192.0.2.1", HOOK, "whsec_test", &unrelated(&format!("evt_{number}")));
    assert_eq!(statuses(&app, 10, well).await, [200; 10]);
    let elsewhere = |_| from("192.0.2.1", OTHER_HOOK, "whsec_forged", &unrelated("evt_forged"));
    assert_eq!(statuses(&app, 1, elsewhere).await, [400]);
    app.finish().await;
}

#[tokio::test]
async fn a_proxy_that_is_trusted_says_who_sends() {
    let mut limited = endpoint(HOOK);
    limited.limits.of_an_address = Some(a_second(1, 1));
    let app = TestApp::with([]).await;
    let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap()], ForwardedHeader::default());
    app.reload(Endpoints::new([limited]).behind(proxies));
    let cases = [
        ("10.0.0.1", "192.0.2.1", 200),
        ("10.0.0.2", "192.0.2.1", 429),
        ("10.0.0.1", "192.0.2.2", 200),
        ("10.0.0.1", "203.0.113.1, 192.0.2.2", 429),
        ("198.51.100.1", "192.0.2.3", 200),
        ("198.51.100.1", "192.0.2.4", 429),
    ];
    for (number, (peer, forwarded_for, status)) in cases.into_iter().enumerate() {
        let mut request = from(peer, HOOK, "whsec_test", &unrelated(&format!("evt_{number}")));
        request.headers_mut().insert("x-forwarded-for", forwarded_for.parse().unwrap());
        assert_eq!(app.send(request).await.status.as_u16(), status, "{peer} for {forwarded_for}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_secret_counts_until_it_expires() {
    let mut rotating = endpoint(HOOK);
    let expires_at = NOW.plus_micros(1_000_000);
    rotating.secrets = Secrets::new([(secret("whsec_old"), Some(expires_at)), (secret("whsec_new"), None)]);
    let mut expiring = endpoint(OTHER_HOOK);
    expiring.secrets = Secrets::new([(secret("whsec_old"), Some(expires_at))]);
    let app = TestApp::with([rotating, expiring]).await;
    for (now, path, key, status) in [
        (NOW, HOOK, "whsec_old", 200),
        (NOW, HOOK, "whsec_new", 200),
        (NOW, OTHER_HOOK, "whsec_old", 200),
        (expires_at, HOOK, "whsec_old", 400),
        (expires_at, HOOK, "whsec_new", 200),
        (expires_at, OTHER_HOOK, "whsec_old", 503),
    ] {
        app.clock.set(now);
        let event_id = format!("evt_{}_{path}_{key}", now.micros()).replace('/', "_");
        assert_eq!(
            app.send(from("192.0.2.1", path, key, &unrelated(&event_id))).await.status.as_u16(),
            status,
            "{event_id}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn endpoints_are_replaced_while_the_server_runs() {
    let app = TestApp::with([endpoint(HOOK)]).await;
    assert_eq!(app.deliver(HOOK, unrelated("evt_1")).await.status, StatusCode::OK);
    app.reload(Endpoints::new([endpoint(OTHER_HOOK)]));
    assert_eq!(app.deliver(HOOK, unrelated("evt_2")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.deliver(OTHER_HOOK, unrelated("evt_2")).await.status, StatusCode::OK);
    app.finish().await;
}

#[tokio::test]
async fn a_slash_at_the_end_makes_no_difference_anywhere() {
    let app = TestApp::new().await;
    app.accept(unrelated("evt_1")).await;
    for path in [
        "/healthz",
        "/readyz",
        "/api/webhooks/health",
        "/api/webhooks/events",
        "/api/webhooks/events/evt_1",
        "/api/webhooks/stats",
        "/api/payments",
        "/api/orders",
    ] {
        for query in ["", "?account=default"] {
            let (plain, slashed) =
                (app.get(&format!("{path}{query}")).await, app.get(&format!("{path}/{query}")).await);
            assert_eq!(slashed.status, plain.status, "{path}/{query}");
            assert_ne!(plain.status.as_u16(), 404, "{path}");
        }
        app.get(&format!("{path}//")).await.is_problem(404, "no_such_path");
    }
    assert_eq!(app.post("/api/webhooks/events/evt_1/replay/?dry_run=true", "").await.json()["dry_run"], true);
    app.finish().await;
}

#[tokio::test]
async fn a_path_that_is_no_text_is_a_problem() {
    let app = TestApp::new().await;
    for path in ["/api/webhooks/events/%ff", "/api/payments/%ff", "/api/orders/%ff/"] {
        app.get(path).await.is_problem(400, "bad_request");
    }
    let replay = app.post("/api/webhooks/events/%ff/replay", "").await;
    replay.is_problem(400, "bad_request");
    app.finish().await;
}

/// An endpoint goes over a route that would take its path too.
#[tokio::test]
async fn an_endpoint_lies_over_the_routes() {
    let app = TestApp::with([endpoint("/api/payments/webhook")]).await;
    assert_eq!(app.deliver("/api/payments/webhook", unrelated("evt_1")).await.status, StatusCode::OK);
    assert_eq!(app.deliver("/api/payments/webhook/", unrelated("evt_2")).await.status, StatusCode::OK);
    let request = Request::builder().method(Method::GET).uri("/api/payments/webhook").body(Body::empty()).unwrap();
    let reply = app.send(request).await;
    reply.is_refusal(405);
    assert_eq!(reply.header("allow"), "POST");
    app.get("/api/payments/pay_none").await.is_problem(404, "payment_not_found");
    app.finish().await;
}
