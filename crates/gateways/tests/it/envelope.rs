//! Which bodies are events.

use domain::{Facts, Mode, Timestamp};
use gateways::stripe::{envelope, normalise};
use gateways::{Envelope, NotAnEvent, Statement};

fn refusal(body: &[u8]) -> &'static str {
    let refused = normalise(body).expect_err("no event").0;
    assert_eq!(envelope(body), Err(NotAnEvent(refused)));
    refused
}

#[test]
fn an_event_needs_an_id_a_type_and_little_else() {
    let body = br#" {"type":"new.thing","object":"event","id":"evt_1"} "#;
    let expected = Envelope {
        event_id: "evt_1".to_owned(),
        event_type: "new.thing".to_owned(),
        api_version: None,
        mode: Mode::Test,
        connected_account: None,
        created_at: None,
    };
    assert_eq!(envelope(body), Ok(expected));
    assert_eq!(normalise(body), Ok(Statement::default()));
}

#[test]
fn the_envelope_reads_both_generations_of_events() {
    let snapshot = br#"{"id":"evt_1","object":"event","type":"charge.failed","created":1700000000,"livemode":true,
        "account":"acct_1","api_version":"2025-08-27.basil","data":{"object":{}}}"#;
    let read = envelope(snapshot).expect("an event");
    assert_eq!((read.mode, read.connected_account.as_deref()), (Mode::Live, Some("acct_1")));
    assert_eq!(read.created_at, Some(Timestamp::from_seconds(1_700_000_000)));
    assert_eq!(read.api_version.as_deref(), Some("2025-08-27.basil"));
    let thin =
        br#"{"id":"evt_2","object":"v2.core.event","type":"v1.charge.failed","created":"2025-03-04T05:06:07.800Z",
        "context":"acct_2","livemode":false}"#;
    let read = envelope(thin).expect("an event");
    assert_eq!((read.mode, read.connected_account.as_deref()), (Mode::Test, Some("acct_2")));
    assert_eq!(read.created_at, Timestamp::parse("2025-03-04T05:06:07.8Z"));
}

#[test]
fn odd_values_beside_the_identity_are_nothing() {
    for odd in ["-1.5", "1e999", "99999999999999999999", "\"soon\"", "[]", "{}", "true", "\"\\ud800\""] {
        let body = format!(
            r#"{{"id":"evt_1","object":"event","type":"t","created":{odd},"account":{odd},"livemode":{odd},"data":{odd}}}"#
        );
        let read = envelope(body.as_bytes()).expect(odd);
        assert_eq!(read.created_at, None, "{odd}");
        assert_eq!(read.mode, if odd == "true" { Mode::Live } else { Mode::Test }, "{odd}");
        assert_eq!(normalise(body.as_bytes()).expect(odd).facts, Facts::default(), "{odd}");
    }
}

#[test]
fn what_is_no_event_is_refused_with_a_reason() {
    let long = "x".repeat(256);
    let event = |id: &str, event_type: &str| format!(r#"{{"object":"event","id":{id},"type":{event_type}}}"#);
    let cases = [
        (b"\xff{}".to_vec(), "UTF-8"),
        (Vec::new(), "not a JSON object"),
        (b"hello".to_vec(), "not a JSON object"),
        (b"[\"evt_1\",\"event\",\"t\"]".to_vec(), "not a JSON object"),
        (b"{\"id\"".to_vec(), "not JSON"),
        (format!("{} x", event("\"evt_1\"", "\"t\"")).into_bytes(), "not JSON"),
        (br#"{"id":"evt_1","id":"evt_2","object":"event","type":"t"}"#.to_vec(), "repeated"),
        (b"{}".to_vec(), "`object`"),
        (br#"{"id":"ch_1","object":"charge","type":"t"}"#.to_vec(), "`object`"),
        (br#"{"id":"1","detail-type":"x","detail":{"id":"evt_1","object":"event"}}"#.to_vec(), "`object`"),
        (br#"{"id":"1","specversion":"1.0","type":"com.stripe.v1","data":{}}"#.to_vec(), "`object`"),
        (event("null", "\"t\"").into_bytes(), "`id`"),
        (event("\"\"", "\"t\"").into_bytes(), "`id`"),
        (event("7", "\"t\"").into_bytes(), "`id`"),
        (event("{\"id\":\"evt_1\"}", "\"t\"").into_bytes(), "`id`"),
        (event(&format!("\"{long}\""), "\"t\"").into_bytes(), "`id`"),
        (event("\"evt_\\u0000\"", "\"t\"").into_bytes(), "`id`"),
        (event("\"evt_1\"", "null").into_bytes(), "`type`"),
        (event("\"evt_1\"", "\"\"").into_bytes(), "`type`"),
        (event("\"evt_1\"", "[]").into_bytes(), "`type`"),
        (event("\"evt_1\"", &format!("\"{long}\"")).into_bytes(), "`type`"),
        (event("\"evt_1\"", "\"a\\u0000b\"").into_bytes(), "`type`"),
    ];
    for (body, reason) in cases {
        let refused = refusal(&body);
        assert!(refused.contains(reason), "{:?}: {refused}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn deep_nesting_is_refused_and_many_brackets_are_not() {
    let event = |data: &str| format!(r#"{{"id":"evt_1","object":"event","type":"charge.failed","data":{data}}}"#);
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"object\":", "}"), ("[\"\\\"]\",", "]")] {
        let deep = event(&format!("{}0{}", open.repeat(100_000), close.repeat(100_000)));
        assert!(refusal(deep.as_bytes()).contains("deep"), "{open}");
    }
    assert!(refusal("[".repeat(100_000).as_bytes()).contains("deep"));
    for flat in [format!("[{}[]]", "[],".repeat(1_000)), format!("\"{}\"", "[{\\\"".repeat(1_000))] {
        assert!(envelope(event(&flat).as_bytes()).is_ok());
        assert!(normalise(event(&flat).as_bytes()).is_ok());
    }
}
