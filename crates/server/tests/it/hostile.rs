//! Bodies that somebody with a secret made, at each endpoint: a clear answer, never a panic,
//! nothing lost, and the next event is unharmed.

use axum::http::StatusCode;
use gateways::Gateway;

use crate::it::app::{Reply, post};
use crate::it::built_in::{BuiltIn, PATHS, gateway_at, paid, register};

/// An event of this path's gateway with these further members in the object that counts.
fn event_with(path: &str, n: usize, members: &str) -> String {
    match gateway_at(path) {
        Gateway::Stripe | Gateway::StandardWebhooks => format!(
            r#"{{"id":"evt_h{n}","object":"event","type":"payment_intent.succeeded","created":1763654400,
                "data":{{"object":{{"id":"pi_h","object":"payment_intent",{members}}}}}}}"#
        ),
        Gateway::Paypal => format!(
            r#"{{"id":"WH-h{n}","event_type":"PAYMENT.CAPTURE.COMPLETED","create_time":"2025-11-20T16:00:00Z",
                "resource":{{"id":"CAP-h","status":"COMPLETED",{members}}}}}"#
        ),
        Gateway::Generic => format!(r#"{{"transaction_id":"TXN-h{n}","status":"completed",{members}}}"#),
        Gateway::Microservice => format!(r#"{{"paymentId":"MS-h{n}","status":"completed",{members}}}"#),
    }
}

/// Members of an object that no gateway sends, each under a name for it.
fn members() -> Vec<(&'static str, String)> {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    vec![
        ("100k deep arrays, open", format!(r#""x":{}"#, "[".repeat(100_000))),
        ("100k deep arrays", format!(r#""x":{}"#, deep("[", "]"))),
        ("100k deep objects", format!(r#""metadata":{}"#, deep(r#"{"a":"#, "}"))),
        ("a huge number", format!(r#""amount":{}"#, "9".repeat(100_000))),
        ("a huge exponent", r#""amount":1e999999999,"currency":"USD""#.into()),
        ("a tiny exponent", r#""amount":1e-999999999,"currency":"USD""#.into()),
        ("the largest amount", r#""amount":9223372036854775807,"amount_received":9223372036854775807"#.into()),
        ("the largest of PayPal's", r#""amount":{"value":"92233720368547758.07","currency_code":"USD"}"#.into()),
        ("more than the largest", r#""amount":{"value":"92233720368547758.08","currency_code":"USD"}"#.into()),
        ("a negative amount", r#""amount":-5,"amount_received":-5,"currency":"usd""#.into()),
        ("a fraction of a cent", r#""amount":1.505,"currency":"USD""#.into()),
        ("an amount as text", r#""amount":"1,50","currency":"USD""#.into()),
        ("no currency", r#""amount":1,"currency":"$$$""#.into()),
        (
            "times beyond all times",
            r#""created":9223372036854775807,"timestamp":9223372036854775807,"update_time":"9999-99-99T99:99:99Z""#
                .into(),
        ),
        ("times before all times", r#""created":-9223372036854775808,"timestamp":"-9999-01-01T00:00:00Z""#.into()),
        ("a repeated status", r#""status":"failed","status":"succeeded""#.into()),
        ("repeated amounts", r#""amount":1,"amount":2,"currency":"usd""#.into()),
        ("half a surrogate pair", r#""description":"\ud800","metadata":{"k":"\udfff"}"#.into()),
        ("NULs", r#""description":"\u0000","metadata":{"\u0000":"\u0000","order_id":"\u0000"}"#.into()),
        ("a text of 900 kB", format!(r#""customer":"{}""#, "x".repeat(900_000))),
        ("50k keys", (0..50_000).map(|n| format!(r#""k{n}":1"#)).collect::<Vec<_>>().join(",")),
        ("50k keys of metadata", {
            let keys = (0..50_000).map(|n| format!(r#""k{n}":"v""#)).collect::<Vec<_>>().join(",");
            format!(r#""metadata":{{{keys}}}"#)
        }),
        ("SQL", r#""metadata":{"order_id":"'; DROP TABLE event; --"},"invoice_id":"' OR 1=1 --""#.into()),
        ("HTML and a line break", r#""metadata":{"order_id":"<script>\r\nX: y"},"custom_id":"<script>""#.into()),
        (
            "the wrong shapes",
            r#""amount":{},"metadata":7,"charges":"x","latest_charge":[1],"links":{},"currency":[]"#.into(),
        ),
        (
            "null everywhere",
            r#""amount":null,"currency":null,"metadata":null,"links":null,"payment_intent":null"#.into(),
        ),
    ]
}

/// Whole bodies that are no event of anybody's.
fn nonsense(path: &str) -> Vec<(&'static str, Vec<u8>)> {
    let good = paid(path, 1);
    let id = ["pi_1", "CAP-1", "TXN-1", "MS-1"].into_iter().find(|id| good.contains(id)).expect("an id");
    let with_id = |bytes: &[u8]| {
        let (before, after) = good.split_once(id).expect("an id");
        [before.as_bytes(), bytes, after.as_bytes()].concat()
    };
    vec![
        ("nothing", Vec::new()),
        ("white space", b" \n\t".to_vec()),
        ("cut off", good.as_bytes()[..good.len() / 2].to_vec()),
        ("twice in one", [good.as_bytes(), good.as_bytes()].concat()),
        ("invalid UTF-8", with_id(b"\xff\xfe")),
        ("an overlong slash", with_id(b"\xc0\xaf")),
        ("a raw NUL", with_id(b"\0")),
        ("a byte order mark", ["\u{feff}".as_bytes(), good.as_bytes()].concat()),
        ("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("an array of it", format!("[{good}]").into_bytes()),
        ("a form", b"payload=%7B%22id%22%3A1%7D".to_vec()),
        ("XML", b"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><x>&a;</x>".to_vec()),
        (
            "compressed",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00C\xbf\xa6\xa3\x02\x00\x00\x00".to_vec(),
        ),
    ]
}

/// It was taken and is there, or it was refused and is not.
#[track_caller]
fn is_clear(reply: &Reply, stored: i64, what: &str) {
    match reply.status {
        StatusCode::OK => assert_eq!((reply.json()["received"] == true, stored), (true, 1), "{what}: {}", reply.text),
        StatusCode::NOT_FOUND => {
            reply.is_refusal(404);
            assert_eq!(stored, 1, "{what}: it is kept");
        }
        _ => {
            let error = reply.is_refusal(400);
            assert!(error.starts_with("not an event: "), "{what}: {error}");
            assert_eq!(stored, 0, "{what}");
        }
    }
}

async fn count(app: &BuiltIn) -> i64 {
    app.rows("SELECT count(*) FROM webhook_events").await[0][0].parse().expect("a number")
}

/// Nothing is stuck, everything can be shown, and the state is what the events say.
async fn ends_well(app: BuiltIn) {
    app.settled().await;
    let stuck = "SELECT event_id, error_message FROM webhook_events WHERE state IN ('failed', 'dead', 'pending')";
    assert_eq!(app.rows(stuck).await, Vec::<Vec<String>>::new());
    for path in ["webhooks/events", "payments", "orders", "refunds", "disputes"] {
        let listed = app.get(&format!("/api/{path}?limit=200")).await;
        assert_eq!(listed.status, StatusCode::OK, "{path}: {}", listed.text);
    }
    app.finish_sound().await;
}

#[tokio::test]
async fn hostile_bodies_get_a_clear_answer_and_harm_no_other_event() {
    for path in PATHS {
        let app = BuiltIn::start().await;
        let members = members().into_iter().enumerate();
        let events = members.map(|(n, (name, members))| (name, event_with(path, n, &members).into_bytes()));
        for (n, (name, body)) in (100..).zip(events.chain(nonsense(path))) {
            let before = count(&app).await;
            let reply = app.posted(path, body).await;
            is_clear(&reply, count(&app).await - before, &format!("{name} at {path}"));
            let id = register(&app, path, n).await;
            let next = app.posted(path, paid(path, n)).await;
            assert_eq!(next.status, StatusCode::OK, "after {name} at {path}: {}", next.text);
            let status = app.seen(&format!("/api/payments/{id}")).await["payment_status"].clone();
            assert_eq!(status, "paid", "after {name} at {path}");
        }
        ends_well(app).await;
    }
}

#[tokio::test]
async fn random_and_mutilated_bodies_get_a_clear_answer() {
    for (seed, path) in (0..).zip(PATHS) {
        let app = BuiltIn::start().await;
        let mut rng = fastrand::Rng::with_seed(seed);
        let whole = paid(path, 1).into_bytes();
        for round in 0..150 {
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
            let reply = app.posted(path, body.as_slice()).await;
            let status = reply.status.as_u16();
            assert!([200, 400, 404].contains(&status), "{path}: {status} to {:?}", String::from_utf8_lossy(&body));
        }
        register(&app, path, 2).await;
        assert_eq!(app.posted(path, paid(path, 2)).await.status, StatusCode::OK, "{path}");
        assert_eq!(app.seen("/api/payments/own-2").await["payment_status"], "paid", "{path}");
        ends_well(app).await;
    }
}

/// Senders say all sorts of things about JSON.
#[tokio::test]
async fn the_content_type_makes_no_difference() {
    let types = [
        "",
        "text/plain",
        "application/json; charset=utf-16",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "image/png",
        "no type at all",
    ];
    let app = BuiltIn::start().await;
    for (of_path, path) in (0..).zip(PATHS) {
        for (of_type, content_type) in (0..).zip(types) {
            let n = of_path * 100 + of_type;
            register(&app, path, n).await;
            let body = paid(path, n);
            let mut headers = app.headers(gateway_at(path), body.as_bytes());
            headers.push(("content-type", content_type.to_owned()));
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let reply = app.send(post(path, &headers, body)).await;
            assert_eq!(reply.status, StatusCode::OK, "{content_type:?} at {path}: {}", reply.text);
            app.settled().await;
            assert_eq!(app.seen(&format!("/api/payments/own-{n}")).await["payment_status"], "paid", "{path}");
        }
    }
    ends_well(app).await;
}
