//! Against Stripe's own code: the official `stripe` package from PyPI.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::shop::{SECRET, Shop, corpus, python, said, sample};

/// Signs bodies with the package's own code, holds each signature against its own
/// verification, and posts them. Prints the status and the reply, a line each.
const DELIVER: &str = r#"
import sys, time, urllib.error, urllib.request
import stripe
url, secret, offset, *paths = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for path in paths:
    body = open(path, encoding="utf-8", newline="").read()
    signed_at = int(time.time()) + int(offset)
    scheme = stripe.WebhookSignature.EXPECTED_SCHEME
    signature = stripe.WebhookSignature._compute_signature(f"{signed_at}.{body}", secret)
    header = f"t={signed_at},{scheme}={signature}"
    assert stripe.WebhookSignature.verify_header(body, header, secret)
    headers = {"Stripe-Signature": header, "Content-Type": "application/json"}
    try:
        with opener.open(urllib.request.Request(url, body.encode(), headers), timeout=60) as reply:
            print(reply.status, reply.read().decode())
    except urllib.error.HTTPError as refusal:
        print(refusal.code, refusal.read().decode())
"#;

/// Takes one delivery and reads it with the package, as an application would.
const RECEIVE: &str = r#"
import http.server, json, sys
import stripe
secret = sys.argv[1]
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        header = self.headers["Stripe-Signature"]
        event = stripe.Webhook.construct_event(body, header, secret)
        try:
            stripe.Webhook.construct_event(body + b" ", header, secret)
            refused = False
        except stripe.SignatureVerificationError:
            refused = True
        seen = {"id": event.id, "type": event.type, "object": event.data.object.id, "path": self.path, "refused": refused}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"received":true}')
        print(json.dumps(seen), flush=True)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.handle_request()
"#;

#[test]
fn deliveries_signed_by_the_official_package_are_accepted() {
    let shop = Shop::new();
    let server = shop.serve();
    let ours = shop.write("event.json", sample(1, "payment_intent.succeeded").body);
    let odd = shop.write(
        "odd.json",
        "{\r\n  \"id\": \"evt_odd\", \"object\": \"event\", \"type\": \"payment_intent.succeeded\", \"created\": 1700000000,\r\n  \
         \"data\": {\"object\": {\"id\": \"pi_odd\", \"object\": \"payment_intent\", \"amount\": 2000,\r\n  \
         \"amount_received\": 2000, \"currency\": \"eur\", \"status\": \"succeeded\", \"description\": \"caf\u{e9} \\u2603\"}}}\n",
    );
    for (file, secret, offset, starts) in [
        (&ours, SECRET, "0", "200 {\"received\":true,\"status\":\"accepted\""),
        (&ours, SECRET, "0", "200 {\"received\":true,\"status\":\"duplicate\""),
        (&odd, SECRET, "-290", "200 {\"received\":true,\"status\":\"accepted\""),
        (&ours, "whsec_nobodys", "0", "400 {\"status\":\"error\""),
    ] {
        let path = file.display().to_string();
        let replied = said(&mut python(DELIVER, &[&server.url(), secret, offset, &path])).ok();
        assert!(replied.starts_with(starts), "{path}, {offset}: {replied}");
    }
    server.applied();
    let key = shop.key("read");
    let payments = server.found("/api/payments", &key);
    let paid =
        payments["data"].as_array().expect("a list").iter().filter(|payment| payment["payment_status"] == "paid");
    assert_eq!(paid.count(), 2, "{payments}");
}

#[test]
fn recorded_events_signed_by_the_official_package_are_accepted() {
    let shop = Shop::new();
    let server = shop.serve();
    let index = std::fs::read(corpus("events/stripe/index.json")).expect("the corpus");
    let index: Vec<Value> = serde_json::from_slice(&index).expect("JSON");
    let recorded: Vec<String> = index
        .iter()
        .filter(|entry| entry["kind"] == "event" && entry["grade"].as_str().is_some_and(|g| g.starts_with("captured")))
        .map(|entry| corpus("events/stripe").join(entry["file"].as_str().expect("a file")).display().to_string())
        .collect();
    assert!(recorded.len() >= 48, "{} events were captured as they came", recorded.len());
    let url = server.url();
    let arguments: Vec<&str> = [&url, SECRET, "0"].into_iter().chain(recorded.iter().map(String::as_str)).collect();
    let replies = said(&mut python(DELIVER, &arguments)).ok();
    assert_eq!(replies.lines().count(), recorded.len(), "{replies}");
    for (file, reply) in recorded.iter().zip(replies.lines()) {
        assert!(reply.starts_with("200 {\"received\":true"), "{file}: {reply}");
    }
    server.applied();
    assert_eq!(shop.run(&["events", "list", "--state", "failed"]).ok(), "");
    assert_eq!(shop.run(&["events", "list", "--state", "dead"]).ok(), "");
}

#[test]
fn what_trigger_signs_the_official_package_reads() {
    let shop = Shop::new();
    for event_type in ["payment_intent.succeeded", "charge.dispute.created", "checkout.session.completed"] {
        let mut receiver = python(RECEIVE, &[SECRET]).stdout(Stdio::piped()).spawn().expect("Python starts");
        let mut lines = BufReader::new(receiver.stdout.take().expect("a pipe")).lines();
        let mut line = || lines.next().expect("it says something").expect("UTF-8");
        let url = format!("http://127.0.0.1:{}/hook", line());
        let triggered = shop.run(&["trigger", event_type, "--to", &url]);
        let (stderr, reply) = (triggered.stderr.clone(), triggered.ok());
        assert_eq!(reply, "{\"received\":true}\n");
        let seen: Value = serde_json::from_str(&line()).expect("JSON");
        assert_eq!((seen["type"].as_str(), seen["path"].as_str()), (Some(event_type), Some("/hook")));
        assert!(stderr.contains(seen["id"].as_str().expect("an id")), "{stderr} names {seen}");
        assert!(seen["object"].is_string() && seen["refused"] == true, "{seen}");
        assert!(receiver.wait().expect("it ends").success());
    }
}
