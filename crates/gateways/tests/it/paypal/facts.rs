//! What events state: DOMAIN.md's rules for PayPal, each on an event of its shape.

use domain::dispute::{CaseOutcome, CaseStage, CaseStatus};
use domain::paypal::{AuthorizationStatus, CaptureStatus, OrderStatus};
use domain::refund::{RefundKind, RefundStatus};
use domain::{DisputeStatus, Facts, Mode, ObjectKind, PaymentStatus, Timestamp};
use gateways::paypal::{envelope, normalise, resource_facts};
use gateways::{Envelope, Gateway, NotAnEvent, Statement};
use http::HeaderMap;
use serde_json::{Value, json};

use super::support::{NOW, at, event_facts, headers};
use crate::support::{ledger, payments};

fn event(event_type: &str, resource: &Value) -> Vec<u8> {
    json!({"id": "WH-1", "event_type": event_type, "create_time": "2026-01-01T00:00:00.5Z", "resource": resource})
        .to_string()
        .into_bytes()
}

fn statement(event_type: &str, resource: &Value) -> Statement {
    normalise(&event(event_type, resource), at(NOW)).expect("an event")
}

fn facts(event_type: &str, resource: &Value) -> Facts {
    statement(event_type, resource).facts
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect(text)
}

fn up(path: &str) -> Value {
    json!([{"rel": "self", "href": "https://api.paypal.com/v2/x/y/SELF"},
           {"rel": "up", "href": format!("https://api.paypal.com/{path}")}])
}

#[test]
fn the_envelope_needs_an_id_and_a_type_and_little_else() {
    let body = br#" {"event_type":"NEW.THING","id":"WH-1","create_time":"2018-19-12T22:20:32.000Z"} "#;
    let expected = Envelope {
        event_id: "WH-1".to_owned(),
        event_type: "NEW.THING".to_owned(),
        api_version: None,
        mode: Mode::Live,
        connected_account: None,
        created_at: None,
    };
    assert_eq!(envelope(&HeaderMap::new(), body), Ok(expected.clone()));
    assert_eq!(Gateway::Paypal.envelope(&HeaderMap::new(), body), Ok(expected));
    assert_eq!(normalise(body, at(NOW)), Ok(Statement::default()));
    let whole = br#"{"id":"WH-1","event_type":"T","resource_version":"2.0","create_time":"2019-02-14T21:50:07.940Z"}"#;
    let read = envelope(&HeaderMap::new(), whole).expect("an event");
    assert_eq!((read.api_version.as_deref(), read.created_at), (Some("2.0"), Some(time("2019-02-14T21:50:07.94Z"))));
}

#[test]
fn the_sandbox_is_test() {
    let links = |host: &str| json!([{"href": format!("https://{host}/v2/payments/captures/C"), "rel": "self"}]);
    let of = |certificate_host: &str, event_host: &str, resource_host: &str| {
        let url = format!("https://{certificate_host}/v1/notifications/certs/CERT-1");
        let body = json!({"id": "WH-1", "event_type": "T", "links": links(event_host), "resource": {"links": links(resource_host)}});
        envelope(&headers(&[("paypal-cert-url", &url)]), body.to_string().as_bytes()).expect("an event").mode
    };
    let (live, sandbox, evil) = ("api.paypal.com", "api-m.sandbox.paypal.com", "api.sandbox.paypal.com.evil.example");
    assert_eq!(of(live, live, live), Mode::Live);
    assert_eq!(of(sandbox, live, live), Mode::Test);
    assert_eq!(of(live, sandbox, live), Mode::Test);
    assert_eq!(of(live, live, "api.sandbox.paypal.com"), Mode::Test);
    assert_eq!(of(live, evil, evil), Mode::Live);
}

#[test]
fn what_is_no_event_is_refused_with_a_reason() {
    let long = "x".repeat(256);
    let cases = [
        (b"\xff{}".to_vec(), "UTF-8"),
        (Vec::new(), "not a JSON object"),
        (b"[]".to_vec(), "not a JSON object"),
        (b"{\"id\"".to_vec(), "not JSON"),
        (br#"{"id":"a","id":"b","event_type":"T"}"#.to_vec(), "repeated"),
        (br#"{"id":"a","event_type":"T","resource":{},"resource":{}}"#.to_vec(), "repeated"),
        (b"{}".to_vec(), "`id`"),
        (br#"{"id":7,"event_type":"T"}"#.to_vec(), "`id`"),
        (format!(r#"{{"id":"{long}","event_type":"T"}}"#).into_bytes(), "`id`"),
        (br#"{"id":"a"}"#.to_vec(), "`event_type`"),
        (br#"{"id":"a","event_type":""}"#.to_vec(), "`event_type`"),
        (
            format!(r#"{{"id":"a","event_type":"T","resource":{}0{}}}"#, "[".repeat(200), "]".repeat(200)).into_bytes(),
            "deep",
        ),
    ];
    for (body, reason) in cases {
        let refused = envelope(&HeaderMap::new(), &body).expect_err("no event").0;
        assert!(refused.contains(reason), "{:?}: {refused}", String::from_utf8_lossy(&body));
        assert_eq!(normalise(&body, at(NOW)), Err(NotAnEvent(refused)));
    }
}

#[test]
fn unknown_types_and_empty_resources_state_nothing() {
    let capture = json!({"id": "C", "status": "COMPLETED", "amount": {"value": "1.00", "currency_code": "USD"}});
    for event_type in
        ["BILLING.SUBSCRIPTION.CREATED", "VAULT.PAYMENT-TOKEN.CREATED", "PAYMENT", "CAPTURE.COMPLETED", "."]
    {
        assert_eq!(statement(event_type, &capture), Statement::default(), "{event_type}");
    }
    for resource in [Value::Null, json!([]), json!("C"), json!(1e300), json!({}), json!({"id": 7}), json!({"id": ""})] {
        for event_type in [
            "PAYMENT.CAPTURE.COMPLETED",
            "CHECKOUT.ORDER.APPROVED",
            "CUSTOMER.DISPUTE.CREATED",
            "PAYMENT.SALE.REVERSED",
        ] {
            assert_eq!(statement(event_type, &resource), Statement::default(), "{event_type} {resource}");
        }
    }
}

#[test]
fn the_order_is_named_in_the_supplement_or_only_by_a_link() {
    let parents = |resource: Value| {
        let facts = facts("PAYMENT.CAPTURE.COMPLETED", &resource);
        let capture = &facts.captures["C"];
        (capture.orders.first().cloned(), capture.authorizations.first().cloned())
    };
    let (none, o, a) = (None, Some("O".to_owned()), Some("A".to_owned()));
    let related = |ids: Value| json!({"related_ids": ids});
    let orders = "v2/checkout/orders";
    let cases = [
        (json!({"id": "C", "supplementary_data": related(json!({"order_id": "O"}))}), (o.clone(), none.clone())),
        (json!({"id": "C", "links": up(&format!("{orders}/O"))}), (o.clone(), none.clone())),
        (json!({"id": "C", "links": up(&format!("{orders}/O/"))}), (o.clone(), none.clone())),
        (json!({"id": "C", "links": up(&format!("{orders}/O?x=y"))}), (o.clone(), none.clone())),
        (json!({"id": "C", "links": up("v2/payments/authorizations/A")}), (none.clone(), a.clone())),
        (
            json!({"id": "C", "supplementary_data": related(json!({"order_id": "O"})), "links": up("v2/payments/authorizations/A")}),
            (o.clone(), a.clone()),
        ),
        // Where both name an order, the name counts and not the link.
        (
            json!({"id": "C", "supplementary_data": related(json!({"order_id": "O"})), "links": up(&format!("{orders}/OTHER"))}),
            (o.clone(), none.clone()),
        ),
        (json!({"id": "C", "parent_payment": "O"}), (o.clone(), none.clone())),
        (
            json!({"id": "C", "supplementary_data": related(json!({"order_id": ""})), "links": up("v2/x/y")}),
            (none.clone(), none.clone()),
        ),
        (
            json!({"id": "C", "supplementary_data": 7, "links": [7, null, {"rel": "up"}, {"rel": "up", "href": "/"}]}),
            (none.clone(), none),
        ),
    ];
    for (resource, expected) in cases {
        assert_eq!(parents(resource.clone()), expected, "{resource}");
    }
}

#[test]
fn captures_of_both_apis_are_told_apart_from_their_events_names() {
    let amount = json!({"value": "10.99", "currency_code": "EUR"});
    let capture =
        |status: &str| json!({"id": "C", "status": status, "amount": amount, "custom_id": "6735", "invoice_id": ""});
    let cases = [
        ("PENDING", "PENDING", Some(CaptureStatus::Pending), false, false),
        ("COMPLETED", "COMPLETED", Some(CaptureStatus::Completed), false, false),
        ("COMPLETED", "PARTIALLY_REFUNDED", Some(CaptureStatus::PartiallyRefunded), false, false),
        ("COMPLETED", "REFUNDED", Some(CaptureStatus::Refunded), false, false),
        ("COMPLETED", "PENDING", Some(CaptureStatus::Pending), false, true),
        ("PENDING", "COMPLETED", Some(CaptureStatus::Completed), false, false),
        ("DENIED", "DECLINED", None, true, false),
        ("DECLINED", "DECLINED", None, true, false),
        ("DENIED", "FAILED", None, true, false),
        ("DENIED", "COMPLETED", Some(CaptureStatus::Completed), false, true),
        ("COMPLETED", "SOMETHING_NEW", None, false, true),
    ];
    for (what, status, rank, declined, disagrees) in cases {
        let facts = facts(&format!("PAYMENT.CAPTURE.{what}"), &capture(status));
        let found = &facts.captures["C"];
        assert_eq!(
            (found.rank.get(), found.declined, found.type_disagrees),
            (rank, declined, disagrees),
            "{what} {status}"
        );
        let details = found.details.get().expect("an amount");
        assert_eq!(
            (details.amount.map(|a| a.units()), details.currency.map(|c| c.to_string())),
            (Some(1099), Some("EUR".to_owned()))
        );
        let named = &found.named.get().expect("a name").metadata;
        assert_eq!(named.get("custom_id").map(String::as_str), Some("6735"), "{what}");
        assert_eq!(named.len(), 1, "an empty invoice_id is none");
    }
    let sale = json!({"id": "S", "state": "completed", "amount": {"total": "7.47", "currency": "USD"}, "custom": "6735",
                      "invoice_number": "I-1", "parent_payment": "PAY-1", "update_time": "2015-02-17T18:50:45Z"});
    let facts = facts("PAYMENT.SALE.COMPLETED", &sale);
    let found = &facts.captures["S"];
    assert_eq!(found.completed_at.get(), Some(time("2015-02-17T18:50:45Z")));
    assert_eq!(found.orders, ["PAY-1".to_owned()].into());
    assert_eq!(found.named.get().expect("names").metadata["invoice_id"], "I-1");
}

#[test]
fn the_objects_own_time_counts_before_the_events_and_any_before_none() {
    let completed_at = |times: Value| {
        let mut resource = json!({"id": "C", "status": "COMPLETED"});
        resource.as_object_mut().expect("an object").extend(times.as_object().expect("times").clone());
        facts("PAYMENT.CAPTURE.COMPLETED", &resource).captures["C"].completed_at.get()
    };
    let own = json!({"create_time": "2025-01-01T00:00:00Z", "update_time": "2022-09-26T06:07:12-07:00"});
    assert_eq!(completed_at(own), Some(time("2022-09-26T13:07:12Z")));
    let broken = json!({"create_time": "2025-01-01T00:00:00Z", "update_time": "2018-19-12T22:20:32.000Z"});
    assert_eq!(completed_at(broken), Some(time("2026-01-01T00:00:00.5Z")));
    let body = |times: &str| {
        format!(
            r#"{{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{{"id":"C","status":"COMPLETED"{times}}}}}"#
        )
    };
    let without = |times: &str| {
        normalise(body(times).as_bytes(), at(NOW)).expect("an event").facts.captures["C"].completed_at.get()
    };
    assert_eq!(without(r#","create_time":"2025-01-01T00:00:00Z""#), Some(time("2025-01-01T00:00:00Z")));
    assert_eq!(without(""), Some(at(NOW)));
}

#[test]
fn a_refunded_or_reversed_capture_is_a_refund_of_it() {
    let resource = json!({"id": "R", "status": "COMPLETED", "amount": {"value": "7.00", "currency_code": "EUR"},
        "seller_payable_breakdown": {"total_refunded_amount": {"value": "18.00", "currency_code": "EUR"}},
        "note_to_payer": "sorry", "create_time": "2022-09-26T06:07:12-07:00", "links": up("v2/payments/captures/C")});
    for (what, kind) in [("REFUNDED", RefundKind::Refund), ("REVERSED", RefundKind::Reversal)] {
        let facts = facts(&format!("PAYMENT.CAPTURE.{what}"), &resource);
        let refund = &facts.refunds["R"];
        assert_eq!(
            (refund.kind(), refund.status(), refund.amount().units()),
            (kind, RefundStatus::Succeeded, 700),
            "{what}"
        );
        assert_eq!(refund.captures, ["C".to_owned()].into(), "{what}");
        assert_eq!(refund.total_refunded.get().map(|total| total.units()), Some(1800), "{what}");
        assert_eq!(refund.created_at.get(), Some(time("2022-09-26T13:07:12Z")), "{what}");
        assert!(facts.captures.is_empty() && !facts.has_payment(), "{what}: the capture is only named");
    }
    for (status, expected) in [
        ("PENDING", RefundStatus::Pending),
        ("COMPLETED", RefundStatus::Succeeded),
        ("CANCELLED", RefundStatus::Canceled),
        ("FAILED", RefundStatus::Failed),
    ] {
        let facts = facts("PAYMENT.REFUND.UPDATED", &json!({"id": "R", "status": status}));
        assert_eq!(facts.refunds["R"].status(), expected, "{status}");
    }
}

#[test]
fn the_first_apis_refunds_are_negative_and_its_reversals_show_the_sale() {
    let amount = json!({"total": "-0.49", "currency": "USD"});
    let refund = json!({"id": "R", "sale_id": "S", "parent_payment": "PAY-1", "state": "completed", "amount": amount});
    let refunded = &facts("PAYMENT.SALE.REFUNDED", &refund).refunds["R"];
    assert_eq!((refunded.amount().units(), refunded.captures.first().map(String::as_str)), (49, Some("S")));
    let reversal = json!({"id": "S", "state": "completed", "amount": amount});
    let facts = facts("PAYMENT.SALE.REVERSED", &reversal);
    let (id, reversed) = facts.refunds.first_key_value().expect("a reversal");
    assert_ne!(id, "S");
    assert_eq!((reversed.kind(), reversed.amount().units()), (RefundKind::Reversal, 49));
    assert_eq!(reversed.captures, ["S".to_owned()].into());
    let sale = json!({"id": "S", "state": "completed", "amount": {"total": "0.49", "currency": "USD"}});
    let ledger = ledger(&[
        event_facts(&event("PAYMENT.SALE.REVERSED", &reversal)),
        event_facts(&event("PAYMENT.SALE.COMPLETED", &sale)),
    ]);
    let [payment] = payments(&ledger)[..] else { panic!("one payment") };
    assert_eq!((payment.status, payment.amount_refunded.units()), (PaymentStatus::Refunded, 49));
}

#[test]
fn an_order_shows_its_captures_authorizations_and_refunds() {
    let amount = |value: &str| json!({"value": value, "currency_code": "USD"});
    let order = json!({"id": "O", "status": "COMPLETED", "update_time": "2026-01-01T10:00:00Z",
        "payer": {"payer_id": "P"}, "payment_source": {"card": {"last_digits": "1091"}},
        "purchase_units": [
            {"reference_id": "default", "amount": amount("60.00"), "custom_id": "6735", "description": "Shoes",
             "payments": {"captures": [{"id": "C", "status": "COMPLETED", "amount": amount("60.00"), "update_time": "2026-01-01T09:00:00Z"}],
                          "refunds": [{"id": "R", "status": "COMPLETED", "amount": amount("10.00"), "links": up("v2/payments/captures/C")}]}},
            {"reference_id": "second", "amount": amount("40.00"), "invoice_id": "I-2",
             "payments": {"authorizations": [{"id": "A", "status": "CREATED", "amount": amount("40.00")}]}}]});
    let facts = facts("CHECKOUT.ORDER.COMPLETED", &order);
    let found = &facts.paypal_orders["O"];
    assert_eq!((found.rank.get(), found.type_disagrees), (Some(OrderStatus::Completed), false));
    let details = found.details.get().expect("an amount");
    assert_eq!(details.amount.map(|amount| amount.units()), Some(10000));
    assert_eq!((details.customer.as_deref(), details.method.as_deref()), (Some("P"), Some("card")));
    assert_eq!(details.description.as_deref(), Some("Shoes"));
    let named = &found.named.get().expect("names").metadata;
    let named: Vec<_> = named.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(named, [("custom_id", "6735"), ("invoice_id", "I-2"), ("reference_id", "second")]);
    let capture = &facts.captures["C"];
    assert_eq!(
        (capture.orders.first().map(String::as_str), capture.completed_at.get()),
        (Some("O"), Some(time("2026-01-01T09:00:00Z")))
    );
    assert_eq!(facts.authorizations["A"].rank.get(), Some(AuthorizationStatus::Created));
    assert_eq!(facts.refunds["R"].captures, ["C".to_owned()].into());
    let ledger = ledger(&[event_facts(&event("CHECKOUT.ORDER.COMPLETED", &order))]);
    let [payment] = payments(&ledger)[..] else { panic!("one payment") };
    assert_eq!(payment.status, PaymentStatus::PartiallyRefunded);
    assert_eq!((payment.amount_captured.units(), payment.amount_refunded.units()), (6000, 1000));
}

#[test]
fn orders_say_how_far_they_are() {
    let cases = [
        ("CREATED", Some(OrderStatus::Created), false),
        ("SAVED", Some(OrderStatus::Saved), false),
        ("PAYER_ACTION_REQUIRED", Some(OrderStatus::PayerActionRequired), false),
        ("APPROVED", Some(OrderStatus::Approved), false),
        ("COMPLETED", Some(OrderStatus::Completed), false),
        ("VOIDED", None, true),
    ];
    for (status, rank, voided) in cases {
        let facts = facts("CHECKOUT.ORDER.APPROVED", &json!({"id": "O", "status": status}));
        let order = &facts.paypal_orders["O"];
        assert_eq!((order.rank.get(), order.voided, order.type_disagrees), (rank, voided, false), "{status}");
    }
    let odd = facts("CHECKOUT.ORDER.COMPLETED", &json!({"id": "O", "status": "APPROVED"}));
    assert!(odd.paypal_orders["O"].type_disagrees);
    let two_currencies = json!({"id": "O", "purchase_units": [
        {"amount": {"value": "1.00", "currency_code": "USD"}}, {"amount": {"value": "1.00", "currency_code": "EUR"}}]});
    assert!(facts("CHECKOUT.ORDER.APPROVED", &two_currencies).paypal_orders["O"].details.is_none());
    let reversed = statement("CHECKOUT.PAYMENT-APPROVAL.REVERSED", &json!({"order_id": "O"}));
    assert!(reversed.facts.paypal_orders["O"].voided && reversed.needs_fetch && !reversed.facts.has_payment());
    let payment = json!({"id": "PAY-1", "state": "approved", "transactions": [{"amount": {"total": "7.47", "currency": "USD"},
        "related_resources": [{"sale": {"id": "S", "state": "pending"}}]}]});
    let facts = facts("PAYMENTS.PAYMENT.CREATED", &payment);
    assert_eq!(facts.paypal_orders["PAY-1"].rank.get(), Some(OrderStatus::Approved));
    assert_eq!(facts.captures["S"].orders, ["PAY-1".to_owned()].into());
}

#[test]
fn authorizations_of_both_apis() {
    let cases = [
        (json!({"id": "A", "status": "PENDING"}), Some(AuthorizationStatus::Pending), false, false),
        (json!({"id": "A", "status": "CREATED"}), Some(AuthorizationStatus::Created), false, false),
        (json!({"id": "A", "state": "authorized"}), Some(AuthorizationStatus::Created), false, false),
        (
            json!({"id": "A", "status": "PARTIALLY_CAPTURED"}),
            Some(AuthorizationStatus::PartiallyCaptured),
            false,
            false,
        ),
        (json!({"id": "A", "status": "CAPTURED"}), Some(AuthorizationStatus::Captured), false, false),
        (json!({"id": "A", "status": "DENIED"}), None, true, false),
        (json!({"id": "A", "status": "VOIDED"}), None, false, true),
        (json!({"id": "A", "state": "expired"}), None, false, true),
    ];
    for (resource, rank, denied, voided) in cases {
        let facts = facts("PAYMENT.AUTHORIZATION.CREATED", &resource);
        let held = &facts.authorizations["A"];
        assert_eq!((held.rank.get(), held.denied, held.voided), (rank, denied, voided), "{resource}");
    }
    assert!(
        facts("PAYMENT.AUTHORIZATION.VOIDED", &json!({"id": "A", "status": "CREATED"})).authorizations["A"]
            .type_disagrees
    );
}

#[test]
fn disputes_name_their_capture_and_are_asked_for_again() {
    let dispute = json!({"dispute_id": "PP-D-1", "status": "RESOLVED", "reason": "MERCHANDISE_OR_SERVICE_NOT_RECEIVED",
        "dispute_life_cycle_stage": "CHARGEBACK", "dispute_outcome": {"outcome_code": "RESOLVED_BUYER_FAVOUR"},
        "dispute_amount": {"value": "3.00", "currency_code": "USD"}, "seller_response_due_date": "2018-07-06T13:55:58.000Z",
        "create_time": "2018-06-21T13:35:44.000Z", "update_time": "2018-06-21T13:55:58.000Z",
        "disputed_transactions": [{"seller_transaction_id": "C"}, {"seller_transaction_id": "OF-ANOTHER-PAYMENT"}]});
    for (event_type, asks) in
        [("CUSTOMER.DISPUTE.CREATED", false), ("CUSTOMER.DISPUTE.UPDATED", true), ("CUSTOMER.DISPUTE.RESOLVED", true)]
    {
        let said = statement(event_type, &dispute);
        assert_eq!((said.object_id.as_deref(), said.needs_fetch), (Some("PP-D-1"), asks), "{event_type}");
        let found = &said.facts.disputes["PP-D-1"];
        let case = found.case.get().expect("a case");
        assert_eq!((case.stage, case.status), (Some(CaseStage::Chargeback), CaseStatus::Resolved));
        assert_eq!((case.outcome, case.updated_at), (Some(CaseOutcome::BuyerFavour), time("2018-06-21T13:55:58Z")));
        assert_eq!((found.status(), found.stage_word()), (DisputeStatus::Lost, Some("CHARGEBACK")));
        assert_eq!(found.captures, ["C".to_owned()].into());
        let details = found.details.get().expect("details");
        assert_eq!(
            (details.amount.map(|a| a.units()), details.due_by),
            (Some(300), Some(time("2018-07-06T13:55:58Z")))
        );
    }
}

#[test]
fn fetched_resources_state_the_same() {
    let capture = json!({"id": "C", "status": "COMPLETED", "update_time": "2026-01-01T10:00:00Z",
                         "amount": {"value": "1.00", "currency_code": "USD"}, "links": up("v2/checkout/orders/O")});
    let mut told = facts("PAYMENT.CAPTURE.PENDING", &capture);
    assert!(!told.captures["C"].confirmed, "a webhook confirms nothing");
    told.captures.values_mut().for_each(|capture| capture.confirmed = true);
    let fetched =
        resource_facts(ObjectKind::Capture, capture.to_string().as_bytes(), at(NOW), "WH-1").expect("a capture");
    assert_eq!(fetched.facts, told);
    assert_eq!(fetched.object_id.as_deref(), Some("C"));
    assert!(resource_facts(ObjectKind::Intent, b"{}", at(NOW), "").expect("JSON").facts.is_empty());
    assert!(resource_facts(ObjectKind::Capture, b"{", at(NOW), "").is_err());
}
