//! Endpoints as `quittance.toml` adds them, and those that are there without it.

use std::process::Command;

use crate::shop::{SECRET, Server, Shop, json_lines, said, sample};

/// A minimal entry, with what is said after it.
fn entry(more: &str) -> String {
    format!("[[endpoints]]\nname = \"till\"\ngateway = \"stripe\"\nsecrets = [\"whsec_till\"]\n{more}\n")
}

#[test]
fn each_of_the_eight_paths_is_there_and_names_nothing_to_strangers() {
    let shop = Shop::new();
    let server = shop.serve();
    for (path, status) in [
        ("/payments/webhook", 400),
        ("/api/webhooks/stripe", 400),
        ("/api/webhooks/paypal", 503),
        ("/api/v1/order-payments/webhooks/payment", 503),
        ("/api/v1/order-payments/webhooks/stripe", 400),
        ("/api/v1/order-payments/webhooks/paypal", 503),
        ("/webhooks/stripe", 400),
        ("/api/payments/webhook", 503),
    ] {
        for path in [path.to_owned(), format!("{path}/")] {
            let (got, reply) = server.deliver(&path, "whsec_nobodys", "{}");
            assert_eq!(got, status, "{path}: {reply}");
            assert!(!reply.to_string().contains("SECRET") && !reply.to_string().contains("KEY"), "{reply}");
        }
    }
    let log = server.logs("/api/payments/webhook");
    for variable in ["PAYPAL_WEBHOOK_ID", "WEBHOOK_SECRET", "PAYMENT_API_KEY"] {
        assert!(log.contains(&format!("does not run: set {variable}")), "{variable}: {log}");
    }
    server.stop();
}

#[test]
fn those_that_are_configured_are_served_and_replace_those_that_exist_anyway() {
    let shop = Shop::new();
    shop.write("old_secret", "whsec_old\n");
    shop.write(
        "quittance.toml",
        r#"
        public_url = "https://pay.example.com/"
        trusted_proxies = ["10.0.0.0/8", "192.0.2.1"]
        forwarded_header = "Forwarded"

        [accounts.shop-eu]
        name = "Shop Europe"

        [[endpoints]]
        name = "till"
        gateway = "stripe"
        account = "shop-eu"
        secrets = ["env:TILL_SECRET", { value = "file:old_secret", expires = "2999-12-31T00:00:00Z" }]
        mode = "test"
        connected_accounts = ["acct_1"]
        reply = "accepted"
        unmatched = "reject"
        on_amount_mismatch = "hold"

        [endpoints.limits]
        body_bytes = 4096
        tolerance_seconds = 60
        requests_per_second = 50
        burst = 100
        total_requests_per_second = 500
        failed_signatures_per_minute = 10

        [[endpoints]]
        path = "/my/path/"
        gateway = "stripe"
        secrets = ["whsec_mine"]

        [[endpoints]]
        path = "/payments/webhook"
        gateway = "stripe"
        secrets = [{ value = "whsec_replaced", expires = 2999-12-31 }]
        "#,
    );
    let with_secret = |command: &mut Command| {
        command.env("TILL_SECRET", "whsec_till");
    };
    let mut command = shop.command(&["config", "check", "--json"]);
    with_secret(&mut command);
    let report = json_lines(&said(&mut command).ok()).remove(0);
    let endpoints = report["endpoints"].as_array().expect("a list");
    assert_eq!(endpoints.len(), 10, "{report}");
    let till = endpoints.iter().find(|endpoint| endpoint["path"] == "/hooks/till").expect("the till");
    for (key, value) in [
        ("gateway", "stripe".into()),
        ("account", "shop-eu".into()),
        ("secrets", 2.into()),
        ("expiries", serde_json::json!(["2999-12-31T00:00:00Z"])),
        ("mode", "test".into()),
        ("reply", "accepted".into()),
        ("unmatched", "reject".into()),
        ("on_amount_mismatch", "hold".into()),
        ("body_bytes", 4096.into()),
        ("tolerance_seconds", 60.into()),
        ("runs", true.into()),
    ] {
        assert_eq!(till[key], value, "{key} of {till}");
    }
    let mut command = shop.command(&["serve", "--listen", "127.0.0.1:0"]);
    with_secret(&mut command);
    let server = Server::start(&mut command);
    for (seed, (path, secret, status)) in [
        ("/hooks/till", "whsec_till", 200),
        ("/hooks/till/", "whsec_old", 200),
        ("/hooks/till", SECRET, 400),
        ("/my/path", "whsec_mine", 200),
        ("/payments/webhook", "whsec_replaced", 200),
        ("/payments/webhook", SECRET, 400),
        ("/api/webhooks/stripe", SECRET, 200),
    ]
    .into_iter()
    .enumerate()
    {
        let (got, reply) = server.deliver(path, secret, &sample(seed as u64, "charge.succeeded").body);
        assert_eq!(got, status, "{path}: {reply}");
    }
    server.applied();
    server.stop();
    let events = json_lines(&shop.run(&["events", "list", "--json"]).ok());
    let accounts: Vec<&str> = events.iter().filter_map(|event| event["account"].as_str()).collect();
    assert_eq!(accounts.iter().filter(|account| **account == "shop-eu").count(), 2, "{accounts:?}");
}

#[test]
fn a_secret_that_expires_soon_is_warned_of_and_an_expired_one_counts_no_more() {
    let shop = Shop::new();
    let in_days = |days: i64| {
        let at = domain::Timestamp::from_seconds(bench::now_seconds() + days * 24 * 60 * 60 + 60);
        at.to_string()
    };
    let secret = |name: &str, days: i64| format!("{{ value = \"whsec_{name}\", expires = \"{}\" }}", in_days(days));
    let (later, soon, past) = (secret("later", 20), secret("soon", 13), secret("past", -2));
    shop.write(
        "quittance.toml",
        format!(
            "[[endpoints]]\nname = \"till\"\ngateway = \"stripe\"\nsecrets = [\"whsec_kept\", {later}, {soon}, {past}]\n\
             [[endpoints]]\nname = \"over\"\ngateway = \"stripe\"\nsecrets = [{past}]\n"
        ),
    );
    let text = shop.run(&["config", "check"]).ok();
    let warnings: Vec<&str> = text.lines().filter(|line| line.starts_with("warning")).collect();
    assert_eq!(warnings.len(), 3, "{text}");
    for part in ["/hooks/till expires at", "in 13 days", "/hooks/till expired at", "/hooks/over expired at"] {
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {text}");
    }
    assert!(text.contains("does not run: every secret has expired, set endpoints.over.secrets"), "{text}");
    let server = shop.serve();
    for (seed, path, name, status) in [
        (1, "/hooks/till", "kept", 200),
        (2, "/hooks/till", "soon", 200),
        (3, "/hooks/till", "past", 400),
        (4, "/hooks/over", "past", 503),
    ] {
        let body = sample(seed, "charge.succeeded").body;
        assert_eq!(server.deliver(path, &format!("whsec_{name}"), &body).0, status, "{name}");
    }
    server.stop();
}

#[test]
fn a_mistake_about_an_endpoint_is_named_by_line_and_key() {
    let shop = Shop::new();
    let cases: &[(String, &[&str])] = &[
        (entry("gatway = \"x\""), &["line 5", "gatway"]),
        (entry("").replace("\"stripe\"", "\"strip\""), &["line 3", "endpoints.till.gateway", "strip", "paypal"]),
        (entry("").replace("gateway = \"stripe\"\n", ""), &["line 1", "gateway is missing"]),
        (entry("").replace("[\"whsec_till\"]", "[]"), &["line 1", "endpoints.till.secrets"]),
        (entry("").replace("secrets = [\"whsec_till\"]\n", ""), &["endpoints.till.secrets"]),
        (entry("").replace("\"whsec_till\"", "\"\""), &["line 4", "endpoints.till.secrets", "empty"]),
        (entry("").replace("\"whsec_till\"", "\"whsec_till \""), &["line 4", "white space"]),
        (entry("").replace("\"whsec_till\"", "\"env:NOWHERE\""), &["line 4", "endpoints.till.secrets", "NOWHERE"]),
        (entry("").replace("\"whsec_till\"", "\"file:nowhere\""), &["line 4", "nowhere"]),
        (entry("").replace("\"whsec_till\"", "{ value = \"whsec_till\", expires = \"soon\" }"), &["line 4", "expires"]),
        (
            entry("").replace("\"whsec_till\"", "{ value = \"whsec_till\", until = \"2999-01-01\" }"),
            &["line 4", "until"],
        ),
        (entry("").replace("\"whsec_till\"", "{ expires = \"2999-01-01\" }"), &["line 4", "value"]),
        (entry("account = \"nobody\""), &["line 5", "endpoints.till.account", "[accounts.nobody]"]),
        (entry("reply = \"later\""), &["line 5", "endpoints.till.reply", "accepted or applied"]),
        (entry("unmatched = \"drop\""), &["line 5", "endpoints.till.unmatched", "create or reject"]),
        (entry("on_amount_mismatch = \"x\""), &["line 5", "flag or hold"]),
        (entry("mode = \"sandbox\""), &["line 5", "live or test"]),
        (entry("verification = \"postback\""), &["line 5", "PayPal"]),
        (entry("path = \"till\""), &["line 5", "endpoints.till.path", "slash"]),
        (entry("path = \"/till?x\""), &["line 5", "endpoints.till.path"]),
        (entry("path = \"//till\""), &["line 5", "endpoints.till.path"]),
        (entry("path = \"/api/orders\""), &["line 5", "belongs to Quittance"]),
        (entry("path = \"/api/payments/other\""), &["line 5", "belongs to Quittance"]),
        (entry("path = \"/healthz\""), &["line 5", "belongs to Quittance"]),
        (entry("path = \"/dashboard/till\""), &["line 5", "belongs to Quittance"]),
        (entry("").replace("\"till\"", "\"my till\""), &["line 2", "name"]),
        (entry("").replace("name = \"till\"\n", ""), &["line 1", "name is missing"]),
        (format!("{}{}", entry(""), entry("path = \"/other\"")), &["two endpoints", "till"]),
        (
            format!("{}{}", entry(""), entry("").replace("\"till\"", "\"other\"\npath = \"/hooks/till/\"")),
            &["two endpoints", "/hooks/till"],
        ),
        (entry("[endpoints.limits]\nbody_bytes = 0"), &["line 6", "endpoints.till.limits.body_bytes"]),
        (entry("[endpoints.limits]\nbody_bytes = -1"), &["line 6"]),
        (entry("[endpoints.limits]\nburst = 5"), &["line 6", "requests_per_second"]),
        (entry("[endpoints.limits]\nrequests_per_hour = 5"), &["line 6", "requests_per_hour"]),
        ("[accounts.\"my shop\"]\n".to_owned(), &["line 1", "my shop"]),
        ("trusted_proxies = [\"10.0.0.0/99\"]\n".to_owned(), &["line 1", "10.0.0.0/99"]),
        ("forwarded_header = \"Host\"\n".to_owned(), &["line 1", "X-Forwarded-For or Forwarded"]),
        ("public_url = \"pay.example.com\"\n".to_owned(), &["line 1", "public_url"]),
        ("[paypal]\nverification = \"postback\"\n".to_owned(), &["line 2", "client_id"]),
        ("[paypal]\napi_base = \"http://api.example.com\"\n".to_owned(), &["line 2", "https"]),
        ("[paypal]\nclient_id = \"whsec_id\"\n".to_owned(), &["client_secret is missing"]),
        ("[connections]\nmax = 0\n".to_owned(), &["line 2", "connections.max"]),
    ];
    for (text, named) in cases {
        shop.write("quittance.toml", text);
        let error = shop.run(&["config", "check"]).error();
        for part in *named {
            assert!(error.contains(part), "{part:?} is not in {error}of {text}");
        }
        if named[0].starts_with("line") {
            assert!(error.contains("quittance.toml, line"), "{error}");
        }
    }
}

#[test]
fn several_secrets_in_one_variable_count_for_an_endpoint_too() {
    let shop = Shop::new();
    shop.write("quittance.toml", entry("").replace("\"whsec_till\"", "\"env:STRIPE_WEBHOOK_SECRET\""));
    let both = format!("{SECRET},whsec_second");
    let mut command = shop.command(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(command.env("STRIPE_WEBHOOK_SECRET", both));
    for (seed, secret) in [(1, SECRET), (2, "whsec_second")] {
        assert_eq!(server.deliver("/hooks/till", secret, &sample(seed, "charge.succeeded").body).0, 200, "{secret}");
    }
    server.stop();
}

/// PayPal's signature cannot be checked without its certificate: a delivery is refused in
/// a way that brings it again while PayPal is away, and for good where it cannot be PayPal's.
#[test]
fn a_paypal_delivery_waits_for_its_certificate_and_for_none_of_somebody_else() {
    let shop = Shop::new();
    let away = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut command = shop.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("PAYPAL_WEBHOOK_ID", "1JE4291016473214C,WH-OTHER").env("PAYPAL_API_BASE", format!("http://{away}"));
    let server = Server::start(&mut command);
    let now = domain::Timestamp::from_seconds(bench::now_seconds());
    for (certificate_url, status) in [
        ("https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77", 503),
        ("https://api.paypal.com.example.com/v1/notifications/certs/CERT-1", 400),
        (&format!("http://{away}/v1/notifications/certs/CERT-1"), 400),
    ] {
        let request = format!(
            "POST /api/webhooks/paypal HTTP/1.1\r\nHost: shop.test\r\nPayPal-Transmission-Id: a-1\r\n\
             PayPal-Transmission-Time: {now}\r\nPayPal-Transmission-Sig: c2lnbmVk\r\nPayPal-Auth-Algo: SHA256withRSA\r\n\
             PayPal-Cert-Url: {certificate_url}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let (got, reply) = bench::quittance::send(server.address, request.as_bytes()).expect("a reply");
        assert_eq!(got, status, "{certificate_url}: {}", String::from_utf8_lossy(&reply));
    }
    server.logs("it could not be verified");
    server.stop();
}
