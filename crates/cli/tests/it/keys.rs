//! `quittance keys`

use testdb::wait;

use crate::shop::{Shop, json_lines};

on_each!(a_key_is_printed_alone_and_once, a_revoked_key_opens_nothing_any_more, scopes_are_what_they_say);

fn a_key_is_printed_alone_and_once(shop: Shop) {
    let made = shop.run(&["keys", "create", "--scope", "write", "--name", "till 4"]).exits(0);
    let key = made.stdout.strip_suffix('\n').expect("a line");
    assert!(key.starts_with("qk_") && key.len() == 3 + 64 && !key.contains(char::is_whitespace), "{key}");
    assert!(!made.stderr.contains(key) && made.stderr.contains("write"), "{}", made.stderr);
    assert_ne!(shop.key("read"), key);
    for arguments in [&["keys", "list"][..], &["keys", "list", "--json"]] {
        let listed = shop.run(arguments).ok();
        assert!(listed.contains("till 4") && !listed.contains(key) && !listed.contains("qk_"), "{listed}");
    }
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&shop.run(&["keys", "list", "--json"]).ok()).expect("JSON");
    assert_eq!(listed.len(), 2);
    let kept = format!("{:?}", wait(shop.database().dump()));
    assert!(kept.contains("till 4") && !kept.contains(key), "it is kept only as a hash: {kept}");
}

fn a_revoked_key_opens_nothing_any_more(shop: Shop) {
    let server = shop.serve();
    let key = shop.key("read");
    assert_eq!(server.get("/api/payments", &key).0, 200);
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&shop.run(&["keys", "list", "--json"]).ok()).expect("JSON");
    let id = listed[0]["id"].as_str().expect("an id");
    shop.run(&["keys", "revoke", id]).ok();
    let (status, problem) = server.get("/api/payments", &key);
    assert_eq!((status, problem["code"].as_str()), (401, Some("unauthenticated")));
    let again = shop.run(&["keys", "revoke", id]).exits(1);
    assert!(again.stderr.contains(id) && again.stderr.contains("keys list"), "{}", again.stderr);
    assert!(shop.run(&["keys", "list"]).ok().contains("revoked"));
    assert_eq!(json_lines(&shop.run(&["events", "list", "--json"]).ok()).len(), 0);
}

fn scopes_are_what_they_say(shop: Shop) {
    let server = shop.serve();
    let replay = |key: &str| {
        let request = format!(
            "POST /api/webhooks/events/evt_none/replay HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {key}\r\nContent-Length: 0\r\n\r\n"
        );
        bench::quittance::send(server.address, request.as_bytes()).expect("a reply").0
    };
    for (scope, status) in [("read", 403), ("write", 404), ("admin", 404)] {
        assert_eq!(replay(&shop.key(scope)), status, "{scope}");
    }
    let (default, all) = (shop.key("read"), shop.run(&["keys", "create", "--all-accounts"]).ok());
    assert_eq!(server.get("/api/payments?account=other", &default).0, 403);
    assert_eq!(server.get("/api/payments?account=other", all.trim()).0, 200);
    let wrong = shop.run(&["keys", "create", "--scope", "root"]).exits(2);
    assert!(wrong.stderr.contains("read, write, admin"), "{}", wrong.stderr);
    shop.run(&["keys", "create", "--all-accounts", "--account", "default"]).exits(2);
}
