//! Bodies that somebody with a secret made: a clear answer, never a panic, and the next
//! event is unharmed.

use axum::http::StatusCode;

use crate::app::{HOOK, TestApp, about, unrelated};

#[tokio::test]
async fn hostile_bodies_get_a_clear_answer() {
    let app = TestApp::new().await;
    let event = |data: &str| {
        format!(
            r#"{{"id":"evt_hostile","object":"event","type":"payment_intent.succeeded","created":1763654400,"data":{data}}}"#
        )
    };
    let intent = |fields: &str| event(&format!(r#"{{"object":{{"id":"pi_1","object":"payment_intent",{fields}}}}}"#));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("100k deep arrays", event(&"[".repeat(100_000)).into_bytes()),
        ("100k deep and closed", event(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).into_bytes()),
        ("100k deep objects", event(&r#"{"a":"#.repeat(100_000)).into_bytes()),
        ("a huge number", intent(&format!(r#""amount":{}"#, "9".repeat(100_000))).into_bytes()),
        ("a huge exponent", intent(r#""amount":1e999999999"#).into_bytes()),
        ("the largest amount", intent(r#""status":"succeeded","amount_received":9223372036854775807"#).into_bytes()),
        ("a negative amount", intent(r#""status":"succeeded","amount":-5,"amount_received":-5"#).into_bytes()),
        ("a fraction", intent(r#""status":"succeeded","amount":1.5"#).into_bytes()),
        ("a time beyond all times", intent(r#""created":9223372036854775807"#).into_bytes()),
        (
            "repeated keys inside",
            intent(r#""status":"succeeded","status":"canceled","amount":1,"amount":2"#).into_bytes(),
        ),
        ("repeated keys outside", br#"{"id":"evt_a","id":"evt_b","object":"event","type":"x"}"#.to_vec()),
        ("invalid UTF-8", b"{\"id\":\"evt_\xff\xfe\",\"object\":\"event\",\"type\":\"x\"}".to_vec()),
        ("half a surrogate pair", intent(r#""description":"\ud800""#).into_bytes()),
        ("NULs", intent(r#""description":"\u0000","metadata":{"\u0000":"\u0000"}"#).into_bytes()),
        ("a raw NUL", b"{\"id\":\"evt_\0\",\"object\":\"event\",\"type\":\"x\"}".to_vec()),
        ("an id of a megabyte", intent(&format!(r#""customer":"{}""#, "x".repeat(1_000_000))).into_bytes()),
        ("100k keys", intent(&(0..50_000).map(|n| format!(r#""k{n}":1"#)).collect::<Vec<_>>().join(",")).into_bytes()),
        ("SQL", intent(r#""metadata":{"order_id":"'; DROP TABLE event; --"}"#).into_bytes()),
        ("HTML and a line break", intent(r#""metadata":{"order_id":"<script>\r\nX: y"}"#).into_bytes()),
        ("a byte order mark", "\u{feff}{}".as_bytes().to_vec()),
        (
            "the wrong shapes",
            intent(r#""status":[],"amount":{},"metadata":7,"charges":"x","latest_charge":[1]"#).into_bytes(),
        ),
        ("no object", event("[]").into_bytes()),
        ("a string of an object", event(r#"{"object":"pi_1"}"#).into_bytes()),
    ];
    for (number, (name, body)) in bodies.into_iter().enumerate() {
        let body = String::from_utf8(body.clone())
            .map(|text| text.replace("evt_hostile", &format!("evt_hostile_{number}")).into_bytes())
            .unwrap_or(body);
        let reply = app.deliver(HOOK, body).await;
        match reply.status {
            StatusCode::OK => assert_eq!(reply.json()["received"], true, "{name}"),
            _ => assert!(reply.is_refusal(400).starts_with("not an event: "), "{name}: {}", reply.text),
        }
        app.settled().await;
        let next = app.accept(about("payment_intent.succeeded", &format!("pi_next_{number}"), "")).await;
        assert_eq!(next["status"], "accepted", "after {name}");
    }
    app.settled().await;
    let stuck = app.get("/api/webhooks/stats").await.json();
    assert_eq!((&stuck["failed"], &stuck["dead"], &stuck["pending"]), (&0.into(), &0.into(), &0.into()));
    for path in ["/api/webhooks/events?limit=200", "/api/payments?limit=200", "/api/orders?limit=200"] {
        assert_eq!(app.get(path).await.status, StatusCode::OK, "{path}");
    }
    app.finish().await;
}

#[tokio::test]
async fn random_and_mutilated_bodies_get_a_clear_answer() {
    let app = TestApp::new().await;
    let mut rng = fastrand::Rng::with_seed(99);
    let whole = about("charge.refunded", "pi_1", "6735").into_bytes();
    for round in 0..300 {
        let mut body = whole.clone();
        match round % 3 {
            0 => body = (0..rng.usize(..2000)).map(|_| rng.u8(..)).collect(),
            1 => body.truncate(rng.usize(..whole.len())),
            _ => {
                for _ in 0..rng.usize(1..20) {
                    let at = rng.usize(..body.len());
                    body[at] = rng.u8(..);
                }
            }
        }
        let reply = app.deliver(HOOK, body.clone()).await;
        assert!(matches!(reply.status.as_u16(), 200 | 400), "{}: {:?}", reply.status, String::from_utf8_lossy(&body));
    }
    app.settled().await;
    assert_eq!(app.accept(unrelated("evt_after")).await["status"], "accepted");
    let stats = app.get("/api/webhooks/stats").await.json();
    assert_eq!((&stats["failed"], &stats["dead"]), (&0.into(), &0.into()), "{stats}");
    app.finish().await;
}
