//! `quittance serve`

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::shop::{PATH, PATIENCE, SECRET, Server, Shop, request, said, sample, until};

on_each!(
    it_says_where_it_listens_and_takes_deliveries_at_both_endpoints,
    sigterm_finishes_the_request_under_way_however_often_it_is_sent,
    a_second_interrupt_does_not_wait_for_anybody,
    a_start_on_a_migrated_database_takes_no_time_to_speak_of,
);

fn it_says_where_it_listens_and_takes_deliveries_at_both_endpoints(shop: Shop) {
    let server = shop.serve();
    assert_eq!(server.stdout(), format!("listening on http://{}\n", server.address));
    assert_ne!(server.address.port(), 0);
    for (seed, path) in [(1, "/api/webhooks/stripe"), (2, "/payments/webhook"), (3, "/payments/webhook/")] {
        let event = sample(seed, "payment_intent.succeeded");
        let (status, reply) = server.deliver(path, SECRET, &event.body);
        assert_eq!(
            (status, reply["status"].as_str(), reply["received"].as_bool()),
            (200, Some("accepted"), Some(true))
        );
        assert_eq!(reply["event_id"], event.id.as_str());
    }
    server.applied();
    server.logs("Processing webhook event: payment_intent.succeeded");
    assert_eq!(shop.run(&["events", "list", "--state", "applied"]).ok().lines().count(), 3);
    server.stop();
}

/// Opens a delivery and sends all of it but the last byte, which is returned.
fn begin_delivery(server: &Server, seed: u64) -> (TcpStream, u8) {
    let request = request(PATH, SECRET, &sample(seed, "charge.succeeded").body);
    let (last, most) = request.as_bytes().split_last().expect("a request");
    let mut connection = TcpStream::connect(server.address).expect("it listens");
    connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    connection.write_all(most).expect("it reads");
    (connection, *last)
}

/// Whether a new connection is refused.
fn is_closed(server: &Server) -> Option<()> {
    TcpStream::connect(server.address).err().map(|_| ())
}

fn sigterm_finishes_the_request_under_way_however_often_it_is_sent(shop: Shop) {
    let mut server = shop.serve();
    let (mut connection, last) = begin_delivery(&server, 1);
    // One more that is answered, so that the first surely was read.
    server.deliver(PATH, SECRET, &sample(2, "charge.succeeded").body);
    server.signal("TERM");
    until("no more connections are taken", || is_closed(&server));
    server.signal("TERM");
    connection.write_all(&[last]).expect("it still reads");
    let mut reply = String::new();
    connection.read_to_string(&mut reply).expect("a reply, then the end");
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"accepted\""), "{reply}");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("Draining") && server.log().contains("Stopped"), "{}", server.log());
    assert_eq!(shop.run(&["events", "list"]).ok().lines().count(), 2);
}

fn a_second_interrupt_does_not_wait_for_anybody(shop: Shop) {
    let mut server = shop.serve();
    let (_connection, _) = begin_delivery(&server, 1);
    server.deliver(PATH, SECRET, &sample(2, "charge.succeeded").body);
    server.signal("INT");
    until("no more connections are taken", || is_closed(&server));
    server.signal("INT");
    assert_eq!(server.ended().code(), Some(130));
    assert!(server.log().contains("interrupted again"), "{}", server.log());
    assert_eq!(shop.run(&["events", "list"]).ok().lines().count(), 1, "what was acknowledged is there");
    shop.run(&["audit", "verify"]).ok();
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let shop = Shop::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let said = shop.run(&["serve", "--listen", &address]).exits(1);
    let line = said.stderr.lines().find(|line| line.starts_with("quittance: ")).expect("an error");
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
    assert_eq!(said.stdout, "");
}

#[test]
fn where_to_listen_comes_from_the_flag_or_the_environment() {
    let shop = Shop::new();
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").to_string()
    };
    let (address, other) = (free(), free());
    let server = Server::start(shop.command(&["serve"]).env("QUITTANCE_LISTEN", &address).env("PORT", "1"));
    assert_eq!(server.address.to_string(), address);
    server.stop();
    let port = other.rsplit_once(':').expect("a port").1;
    let server = Server::start(shop.command(&["serve"]).env("PORT", port));
    assert_eq!(server.address.to_string(), other);
    server.stop();
    let server = Server::start(shop.command(&["serve", "--listen", "127.0.0.1:0"]).env("QUITTANCE_LISTEN", "nowhere"));
    server.stop();
}

#[test]
fn without_a_secret_it_answers_503_and_says_which_variable_to_set() {
    let shop = Shop::new();
    let mut command = shop.command(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(command.env_remove("STRIPE_WEBHOOK_SECRET"));
    let at_start = server.logs("does not run");
    assert!(at_start.contains("STRIPE_WEBHOOK_SECRET"), "{at_start}");
    for path in [PATH, "/payments/webhook"] {
        let (status, reply) = server.deliver(path, SECRET, &sample(1, "charge.succeeded").body);
        assert_eq!((status, reply["status"].as_str()), (503, Some("error")), "{reply}");
    }
    let log = server.logs("Delivery refused");
    assert!(log.contains("set STRIPE_WEBHOOK_SECRET"), "{log}");
    server.stop();
    assert_eq!(shop.run(&["events", "list"]).ok(), "");
}

#[test]
fn each_of_several_secrets_counts_and_no_other() {
    let shop = Shop::new();
    let other = "whsec_next_year";
    shop.write("other", format!("{other}\n"));
    let both = format!("{SECRET},file:{}", shop.path("other").display());
    let server = Server::start(shop.command(&["serve", "--listen", "127.0.0.1:0"]).env("STRIPE_WEBHOOK_SECRET", both));
    for (seed, secret, status) in [(1, SECRET, 200), (2, other, 200), (3, "whsec_nobodys", 400)] {
        let event = sample(seed, "payment_intent.succeeded");
        assert_eq!(server.deliver(PATH, secret, &event.body).0, status, "{secret}");
    }
    server.logs("Delivery refused: signature");
    server.stop();
}

/// `cargo xtask bench` measures it; this only finds what is out of all proportion.
fn a_start_on_a_migrated_database_takes_no_time_to_speak_of(shop: Shop) {
    shop.run(&["migrate"]).ok();
    let event = sample(1, "payment_intent.succeeded");
    let started = Instant::now();
    let server = shop.serve();
    assert_eq!(server.deliver(PATH, SECRET, &event.body).0, 200);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn the_publishable_key_is_shown_and_a_secret_one_refused() {
    let shop = Shop::new();
    shop.write("quittance.toml", "[stripe]\npublishable_key = \"pk_test_file\"\n");
    let shown = |server: &Server| server.found("/api/config/public", "of nobody")["stripe_publishable_key"].clone();
    let server = shop.serve();
    assert_eq!(shown(&server), "pk_test_file");
    server.stop();
    let serve = || shop.command(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(serve().env("STRIPE_PUBLISHABLE_KEY", "pk_test_1"));
    assert_eq!(shown(&server), "pk_test_1");
    server.stop();
    for secret in ["sk_test_1", "rk_live_1", "whsec_1"] {
        let refused = said(serve().env("STRIPE_PUBLISHABLE_KEY", secret)).exits(1);
        assert!(refused.stderr.contains("STRIPE_PUBLISHABLE_KEY is a secret key"), "{refused:?}");
        assert!(!refused.stderr.contains(secret), "{refused:?}");
    }
}
