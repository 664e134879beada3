//! The signature header, case by case.

use domain::Timestamp;
use gateways::stripe::{SIGNATURES_MAX, sign, verify};
use gateways::{Reason, Verdict};
use http::{HeaderMap, HeaderValue};

use crate::support::{headers, secret, verify as verify_one};

const NOW: i64 = 1_800_000_000;
const BODY: &[u8] = br#"{"id":"evt_1"}"#;
const KEY: &str = "whsec_test";

/// The hex that signs `BODY` at `NOW`.
fn good() -> String {
    let header = sign(&secret(KEY), Timestamp::from_seconds(NOW), BODY);
    header.split_once("v1=").expect("a signature").1.to_owned()
}

#[test]
fn headers_are_read_exactly() {
    let good = good();
    let upper = good.to_uppercase();
    let bad = "0".repeat(64);
    let valid = Verdict::Valid { secret: 0 };
    let cases = [
        (format!("t={NOW},v1={good}"), valid),
        (format!("v1={good},t={NOW}"), valid),
        (format!("t={NOW},v1={bad},v1={good}"), valid),
        (format!("t={NOW},v1=potato,v1={good},v0={bad}"), valid),
        (format!("t={NOW},v2=new,v1={good}"), valid),
        (format!("t={NOW},v1="), Verdict::Invalid(Reason::NoMatch)),
        (format!("t={NOW},v1={bad}"), Verdict::Invalid(Reason::NoMatch)),
        (format!("t={NOW},v1={upper}"), Verdict::Invalid(Reason::NoMatch)),
        (format!("t={NOW},v1={}", &good[1..]), Verdict::Invalid(Reason::NoMatch)),
        (format!("t={NOW},v1={good}0"), Verdict::Invalid(Reason::NoMatch)),
        (format!("t=0{NOW},v1={good}"), Verdict::Invalid(Reason::NoMatch)), // Its text was not signed.
        (format!("t={NOW},v0={good}"), Verdict::Invalid(Reason::NoSignature)),
        (format!("t={NOW}"), Verdict::Invalid(Reason::NoSignature)),
        (format!("v1={good}"), Verdict::Invalid(Reason::HeaderMalformed)),
        (format!("t={NOW},t={NOW},v1={good}"), Verdict::Invalid(Reason::HeaderMalformed)),
        (format!("t={NOW},v1={good},"), Verdict::Invalid(Reason::HeaderMalformed)),
        (format!("t={NOW},v1={good},x"), Verdict::Invalid(Reason::HeaderMalformed)),
        (format!("t=+{NOW},v1={good}"), Verdict::Invalid(Reason::HeaderMalformed)),
        (format!("t=-1,v1={good}"), Verdict::Invalid(Reason::HeaderMalformed)),
        (format!("t={NOW}.0,v1={good}"), Verdict::Invalid(Reason::HeaderMalformed)),
        (format!("t=99999999999999999999,v1={good}"), Verdict::Invalid(Reason::HeaderMalformed)),
        (format!("t=,v1={good}"), Verdict::Invalid(Reason::HeaderMalformed)),
        (String::new(), Verdict::Invalid(Reason::HeaderMalformed)),
    ];
    for (header, verdict) in cases {
        assert_eq!(verify_one(&header, BODY, KEY, NOW), verdict, "{header:?}");
    }
}

#[test]
fn a_header_is_there_once_and_is_text() {
    let good = format!("t={NOW},v1={}", good());
    let now = Timestamp::from_seconds(NOW);
    let refused = |headers: &HeaderMap| match verify(headers, BODY, &[secret(KEY)], now, 300) {
        Verdict::Invalid(reason) => reason,
        valid => panic!("{valid:?}"),
    };
    assert_eq!(refused(&HeaderMap::new()), Reason::HeaderMissing);
    assert_eq!(refused(&headers(&[&good, &good])), Reason::HeaderRepeated);
    let mut not_text = HeaderMap::new();
    not_text.insert("Stripe-Signature", HeaderValue::from_bytes(b"t=1,v1=\xff").expect("bytes"));
    assert_eq!(refused(&not_text), Reason::HeaderMalformed);
    assert_eq!(verify(&headers(&[&good]), BODY, &[], now, 300), Verdict::Invalid(Reason::NoSecret));
}

#[test]
fn every_secret_is_tried_and_the_one_that_signed_is_named() {
    let secrets = [secret("whsec_old"), secret(KEY), secret("whsec_new")];
    let header = headers(&[&format!("t={NOW},v1={}", good())]);
    let now = Timestamp::from_seconds(NOW);
    assert_eq!(verify(&header, BODY, &secrets, now, 300), Verdict::Valid { secret: 1 });
    assert_eq!(verify(&header, BODY, &secrets[2..], now, 300), Verdict::Invalid(Reason::NoMatch));
}

#[test]
fn no_more_signatures_are_considered_than_an_honest_header_has() {
    let (good, bad) = (good(), "0".repeat(64));
    let header = |others| format!("t={NOW}{},v1={good}", format!(",v1={bad}").repeat(others));
    assert_eq!(verify_one(&header(SIGNATURES_MAX - 1), BODY, KEY, NOW), Verdict::Valid { secret: 0 });
    assert_eq!(verify_one(&header(SIGNATURES_MAX), BODY, KEY, NOW), Verdict::Invalid(Reason::NoMatch));
}

#[test]
fn the_tolerance_goes_both_ways_and_its_end_is_inside() {
    let header = sign(&secret(KEY), Timestamp::from_seconds(NOW), BODY);
    let cases = [
        (0, Verdict::Valid { secret: 0 }),
        (300, Verdict::Valid { secret: 0 }),
        (-300, Verdict::Valid { secret: 0 }),
        (301, Verdict::Invalid(Reason::OutsideTolerance(301))),
        (-301, Verdict::Invalid(Reason::OutsideTolerance(-301))),
    ];
    for (age, verdict) in cases {
        assert_eq!(verify_one(&header, BODY, KEY, NOW + age), verdict, "{age} s");
    }
    // Stale and wrong: that it is wrong is what matters.
    assert_eq!(verify_one(&header, b"other", KEY, NOW + 301), Verdict::Invalid(Reason::NoMatch));
    let far = format!("t={},v1={}", i64::MAX, good());
    assert_eq!(verify_one(&far, BODY, KEY, -1), Verdict::Invalid(Reason::NoMatch));
}

#[test]
fn nothing_of_a_secret_is_shown() {
    assert_eq!(format!("{:?}", secret(KEY)), "Secret(…)");
}
