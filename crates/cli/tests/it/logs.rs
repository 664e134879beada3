//! The log: what a line holds, what it never holds, and how it is shipped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::shop::{PATH, PATIENCE, SECRET, Server, Shop, json_lines, sample, until};

/// A request that a service got: its head, and its body.
type Request = (String, String);

/// A logging service in this process that answers with these statuses in turn, then with
/// the last one again and again.
struct Service {
    address: SocketAddr,
    requests: Receiver<Request>,
}

impl Service {
    fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            let mut statuses = statuses.iter().chain(std::iter::repeat(statuses.last().expect("one at least")));
            for connection in listener.incoming().map_while(Result::ok) {
                let mut connection = BufReader::new(connection);
                while let Some(request) = read(&mut connection) {
                    let status = statuses.next().expect("endless");
                    let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    if sender.send(request).is_err() || connection.get_mut().write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                }
            }
        });
        Self { address, requests }
    }

    /// A path that holds a token, which nobody is to see.
    fn url(&self) -> String {
        format!("http://{}/ingest?token=whsec_token", self.address)
    }

    fn next(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }

    /// The lines of requests until one satisfies this.
    fn lines_until(&self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut lines: Vec<Value> = Vec::new();
        while !lines.iter().any(&last) {
            let batch: Vec<Value> = serde_json::from_str(&self.next().1).expect("a JSON array");
            assert!(!batch.is_empty() && batch.len() <= 501, "{}", batch.len());
            lines.extend(batch);
        }
        lines
    }
}

fn read(connection: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut head, mut line) = (String::new(), String::new());
    while connection.read_line(&mut line).ok()? > 2 {
        head.push_str(&line.to_ascii_lowercase());
        line.clear();
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok())?;
    let mut body = vec![0; length];
    connection.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).expect("text")))
}

fn serve(shop: &Shop, service: &str) -> Server {
    Server::start(shop.command(&["serve", "--listen", "127.0.0.1:0"]).env("LOGGING_SERVICE_URL", service))
}

fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}

fn deliver(server: &Server, seed: u64) -> String {
    let event = sample(seed, "payment_intent.succeeded");
    assert_eq!(server.deliver(PATH, SECRET, &event.body).0, 200);
    event.id
}

#[test]
fn a_delivery_and_what_it_changed_are_a_line_each_without_anything_sensitive() {
    let shop = Shop::new();
    let server = shop.serve();
    let event_id = deliver(&server, 1);
    server.applied();
    assert_eq!(server.deliver(PATH, "whsec_forged", &sample(2, "charge.succeeded").body).0, 400);
    server.logs("Delivery refused");
    let log = server.logs("Processing webhook event: payment_intent.succeeded");
    let lines = json_lines(&log);
    let line = |text: &str| {
        lines.iter().find(|line| message(line).starts_with(text)).unwrap_or_else(|| panic!("{text}: {log}"))
    };
    let accepted = line("Delivery accepted");
    for (key, value) in [
        ("level", "INFO".into()),
        ("endpoint", PATH.into()),
        ("gateway", "stripe".into()),
        ("account", "default".into()),
        ("event_id", event_id.as_str().into()),
        ("outcome", "accepted".into()),
        ("status", Value::from(200)),
    ] {
        assert_eq!(accepted[key], value, "{key}: {accepted}");
    }
    assert!(accepted["duration_ms"].as_f64().is_some_and(|millis| millis > 0.0), "{accepted}");
    let refused = line("Delivery refused: signature");
    for (key, value) in [
        ("level", "WARN".into()),
        ("endpoint", PATH.into()),
        ("client", "127.0.0.1".into()),
        ("outcome", "refused".into()),
        ("status", Value::from(400)),
    ] {
        assert_eq!(refused[key], value, "{key}: {refused}");
    }
    assert!(refused["reason"].is_string() && refused["duration_ms"].is_number(), "{refused}");
    assert_eq!(line("Processing webhook event")["event_id"], event_id.as_str());
    server.stop();
}

#[test]
fn lines_are_shipped_in_order_with_their_fields_and_without_secrets() {
    let shop = Shop::new();
    let service = Service::start(&[200]);
    let server = serve(&shop, &service.url());
    let event_ids: Vec<String> = (1..=20).map(|seed| deliver(&server, seed)).collect();
    let is_last = |line: &Value| message(line) == "Delivery accepted" && line["event_id"] == event_ids[19].as_str();
    let (head, first) = service.next();
    assert!(head.starts_with("post /ingest?token=whsec_token http/1.1"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let mut lines: Vec<Value> = serde_json::from_str(&first).expect("a JSON array");
    if !lines.iter().any(is_last) {
        lines.extend(service.lines_until(is_last));
    }
    let delivered: Vec<&str> = lines
        .iter()
        .filter(|line| message(line) == "Delivery accepted")
        .filter_map(|line| line["event_id"].as_str())
        .collect();
    assert_eq!(delivered, event_ids, "in order, each once");
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
        assert!(!line.to_string().contains("whsec_"), "{line}");
    }
    server.signal("TERM");
    let rest = service.lines_until(|line| message(line) == "Stopped");
    assert!(rest.iter().any(|line| message(line).starts_with("Draining")), "what waits at the end is shipped");
    server.stop();
}

/// Shipping at the finest level would log each request that ships, and ship that.
#[test]
fn what_ships_does_not_ship_itself() {
    let shop = Shop::new();
    let service = Service::start(&[200]);
    let mut command = shop.command(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(command.env("LOGGING_SERVICE_URL", service.url()).env("QUITTANCE_LOG", "trace"));
    deliver(&server, 1);
    server.signal("TERM");
    let lines = service.lines_until(|line| message(line) == "Stopped");
    for line in &lines {
        let target = line["target"].as_str().unwrap_or_default();
        let of_the_client = ["reqwest", "hyper_util::client"].iter().any(|of| target.starts_with(of));
        assert!(!of_the_client && !line.to_string().contains("/ingest"), "{line}");
    }
    server.stop();
}

#[test]
fn a_batch_that_fails_is_sent_again_and_later_ones_after_it() {
    let shop = Shop::new();
    let service = Service::start(&[503, 500, 200]);
    let server = serve(&shop, &service.url());
    let (_, first) = service.next();
    deliver(&server, 1);
    let again = [service.next().1, service.next().1];
    assert_eq!(again, [first.clone(), first], "the same batch until it is taken");
    service.lines_until(|line| message(line) == "Delivery accepted");
    server.stop();
}

/// A service that takes connections and never answers, or none at all.
#[test]
fn a_service_that_hangs_or_is_away_slows_nothing() {
    let shop = Shop::new();
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a port");
    let away = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for (number, url) in
        [format!("http://{}/", hanging.local_addr().expect("an address")), format!("http://{away}/")].iter().enumerate()
    {
        let server = serve(&shop, url);
        let started = Instant::now();
        for seed in 0..200 {
            deliver(&server, 1000 * (number as u64 + 1) + seed);
        }
        // A tenth of a second each would be out of all proportion: they take a few milliseconds.
        assert!(started.elapsed() < Duration::from_secs(20), "{url}: {:?}", started.elapsed());
        server.applied();
        let (mut server, stopping) = (server, Instant::now());
        server.signal("TERM");
        assert_eq!(server.ended().code(), Some(0), "{}", server.log());
        assert!(stopping.elapsed() < Duration::from_secs(10), "{url}: {:?}", stopping.elapsed());
    }
}

/// One complaint a minute is enough, and it shows no token.
#[test]
fn a_service_that_refuses_is_complained_of_once() {
    let shop = Shop::new();
    let service = Service::start(&[400]);
    let server = serve(&shop, &service.url());
    deliver(&server, 1);
    let log = server.logs("the logging service does not take them");
    until("it goes on sending", || (service.requests.try_iter().count() > 0).then_some(()));
    assert!(!log.contains("token") && log.contains("400"), "{log}");
    server.stop();
}

#[test]
fn a_url_that_is_none_is_said_without_showing_it() {
    let shop = Shop::new();
    for url in ["whsec_token", "ftp://logs.example.com/whsec_token", "file:nowhere"] {
        let error = crate::shop::said(shop.command(&["config", "check"]).env("LOGGING_SERVICE_URL", url)).error();
        assert!(error.contains("LOGGING_SERVICE_URL"), "{error}");
    }
    let mut command = shop.command(&["config", "check"]);
    let text = crate::shop::said(command.env("LOGGING_SERVICE_URL", "https://whsec_token@logs.example.com/")).ok();
    assert!(text.contains("shipped to LOGGING_SERVICE_URL"), "{text}");
}
