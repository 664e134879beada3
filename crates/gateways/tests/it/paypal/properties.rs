//! Whatever comes in, nothing panics and nothing forged passes.

use gateways::Verdict;
use gateways::paypal::{certificate_url, envelope, normalise, resource_facts, verify};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{LIVE_NAME, NOW, Signer, WEBHOOK_ID, at, webhook_id};
use domain::ObjectKind;

/// Keys and words that the reader looks for, so that odd values get to where they
/// might do harm.
const KEYS: &[&str] = &[
    "id",
    "status",
    "state",
    "create_time",
    "update_time",
    "amount",
    "value",
    "currency_code",
    "total",
    "currency",
    "links",
    "href",
    "rel",
    "supplementary_data",
    "related_ids",
    "order_id",
    "parent_payment",
    "sale_id",
    "capture_id",
    "purchase_units",
    "payments",
    "captures",
    "authorizations",
    "refunds",
    "transactions",
    "related_resources",
    "sale",
    "seller_payable_breakdown",
    "total_refunded_amount",
    "dispute_id",
    "disputed_transactions",
    "seller_transaction_id",
    "dispute_outcome",
    "outcome_code",
    "dispute_life_cycle_stage",
    "dispute_amount",
    "custom_id",
    "invoice_id",
    "payer",
    "payment_source",
];
const WORDS: &[&str] = &[
    "COMPLETED",
    "PENDING",
    "DECLINED",
    "REFUNDED",
    "VOIDED",
    "CREATED",
    "APPROVED",
    "RESOLVED",
    "completed",
    "up",
    "https://api.paypal.com/v2/checkout/orders/O",
    "https://api.sandbox.paypal.com/v2/payments/captures/",
    "-0.01",
    "10.00",
    "99999999999999999999.99",
    "USD",
    "JPY",
    "2018-19-12T22:20:32.000Z",
    "2026-01-01T00:00:00-07:00",
    "",
    "\u{0}",
    "é",
    "C",
];
const TYPES: &[&str] = &[
    "PAYMENT.CAPTURE.COMPLETED",
    "PAYMENT.CAPTURE.REFUNDED",
    "PAYMENT.CAPTURE.REVERSED",
    "PAYMENT.SALE.COMPLETED",
    "PAYMENT.SALE.REVERSED",
    "PAYMENT.AUTHORIZATION.CREATED",
    "PAYMENT.REFUND.FAILED",
    "CHECKOUT.ORDER.APPROVED",
    "CHECKOUT.PAYMENT-APPROVAL.REVERSED",
    "PAYMENTS.PAYMENT.CREATED",
    "CUSTOMER.DISPUTE.UPDATED",
    "BILLING.PLAN.CREATED",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        let key = prop_oneof![6 => prop::sample::select(KEYS).prop_map(str::to_owned), 1 => ".{0,8}".prop_map(|s| s)];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..10).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn normalise_is_as_total_as_the_envelope(body: &[u8]) {
    let read = envelope(&HeaderMap::new(), body);
    let stated = normalise(body, at(NOW));
    assert_eq!(read.is_ok(), stated.is_ok(), "{}", String::from_utf8_lossy(body));
    for kind in [
        ObjectKind::PaypalOrder,
        ObjectKind::Capture,
        ObjectKind::Authorization,
        ObjectKind::Refund,
        ObjectKind::Dispute,
    ] {
        let _ = resource_facts(kind, body, at(NOW), "fetch");
    }
}

proptest! {
    #[test]
    fn bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        normalise_is_as_total_as_the_envelope(&body);
    }

    #[test]
    fn odd_json_is_read_or_refused(resource in any_json(), links in any_json(), event_type in prop::sample::select(TYPES)) {
        normalise_is_as_total_as_the_envelope(resource.to_string().as_bytes());
        let event = json!({"id": "WH-1", "event_type": event_type, "create_time": links, "links": links, "resource": resource});
        prop_assert!(envelope(&HeaderMap::new(), event.to_string().as_bytes()).is_ok());
        normalise_is_as_total_as_the_envelope(event.to_string().as_bytes());
    }

    #[test]
    fn damaged_events_are_read_or_refused(
        resource in any_json(),
        event_type in prop::sample::select(TYPES),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let event = json!({"id": "WH-1", "event_type": event_type, "resource": resource});
        let mut body = event.to_string().into_bytes();
        for (index, byte) in edits {
            let index = index.index(body.len());
            body[index] = byte;
        }
        if cut {
            body.truncate(end.index(body.len()));
        }
        normalise_is_as_total_as_the_envelope(&body);
    }

    #[test]
    fn repeated_keys_and_huge_numbers_are_read_or_refused(digits in "[0-9]{1,60}", exponent in "(e[0-9]{1,9})?", n in 1_usize..4) {
        let amount = format!(r#""amount":{{"value":{digits}{exponent},"currency_code":"USD"}},"#).repeat(n);
        let resource = format!(r#"{{{amount}"id":"C","id":"D","status":"COMPLETED"}}"#);
        let event = format!(r#"{{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{resource}}}"#);
        normalise_is_as_total_as_the_envelope(event.as_bytes());
    }

    #[test]
    fn any_url_is_paypals_or_none(prefix in "(https://|http://|)", host in "(api|api-m|www)?\\.?(sandbox\\.)?paypal\\.com.{0,3}", path in ".{0,40}") {
        let mut headers = HeaderMap::new();
        let url = format!("{prefix}{host}/v1/notifications/certs/{path}");
        if let Ok(value) = HeaderValue::from_str(&url) {
            headers.insert("paypal-cert-url", value);
            if let Ok(read) = certificate_url(&headers) {
                prop_assert_eq!(read.to_string(), url); // Nothing was lost or added on the way.
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_header_of_a_signed_delivery_can_be_changed(which in 0_usize..5, index in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        static SIGNER: std::sync::LazyLock<Signer> = std::sync::LazyLock::new(|| Signer::new(&[LIVE_NAME]));
        const BODY: &[u8] = b"{\"id\":\"WH-1\"}";
        let good = SIGNER.headers("t-1", BODY);
        let names = ["paypal-transmission-id", "paypal-transmission-time", "paypal-transmission-sig", "paypal-auth-algo", "body"];
        let (mut headers, mut body) = (good.clone(), BODY.to_vec());
        if let Some(value) = good.get(names[which]) {
            let mut value = value.as_bytes().to_vec();
            let index = index.index(value.len());
            value[index] ^= flip;
            let Ok(changed) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            headers.insert(names[which], changed);
        } else {
            let index = index.index(body.len());
            body[index] ^= flip;
        }
        let ids = [webhook_id(WEBHOOK_ID)];
        let verdict = verify(&headers, &body, &ids, &SIGNER.certificates(), &SIGNER.trust(), at(NOW), 345_600);
        prop_assert!(matches!(verdict, Verdict::Invalid(_)), "{headers:?}");
    }
}
