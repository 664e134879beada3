//! Endpoints and secrets change while the server runs; nothing that is sent meanwhile is
//! refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::shop::{PATH, SECRET, Server, Shop, request, sample, until};

on_each!(a_secret_is_rotated_under_load_without_a_refused_delivery);

fn file(secrets: &[&str]) -> String {
    let secrets: Vec<String> = secrets.iter().map(|secret| format!("{secret:?}")).collect();
    format!("[stripe]\nwebhook_secrets = [{}]\n", secrets.join(", "))
}

/// A server whose secrets are those of the file.
fn serve(shop: &Shop) -> Server {
    Server::start(shop.command(&["serve", "--listen", "127.0.0.1:0"]).env_remove("STRIPE_WEBHOOK_SECRET"))
}

/// Waits until the configuration was read again so many times.
fn read_again(server: &Server, times: usize) {
    until("it is read again", || (server.log().matches("Configuration read again").count() >= times).then_some(()));
}

fn a_secret_is_rotated_under_load_without_a_refused_delivery(shop: Shop) {
    shop.write("quittance.toml", file(&["whsec_a"]));
    let server = serve(&shop);
    let (ended, new_one, sent) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        for sender in 0..4_u64 {
            let (server, ended, new_one, sent) = (&server, &ended, &new_one, &sent);
            threads.spawn(move || {
                let mut number = sender << 32;
                while !ended.load(Ordering::SeqCst) {
                    let secret = if new_one.load(Ordering::SeqCst) { "whsec_b" } else { "whsec_a" };
                    let (status, reply) = server.deliver(PATH, secret, &sample(number, "charge.succeeded").body);
                    assert_eq!(status, 200, "{secret}: {reply}");
                    number += 1;
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let more_are_sent = || {
            let before = sent.load(Ordering::SeqCst);
            until("more are sent", || (sent.load(Ordering::SeqCst) > before + 20).then_some(()));
        };
        more_are_sent();
        shop.write("quittance.toml", file(&["whsec_a", "whsec_b"]));
        server.signal("HUP");
        read_again(&server, 1);
        more_are_sent();
        new_one.store(true, Ordering::SeqCst);
        more_are_sent();
        shop.write("quittance.toml", file(&["whsec_b"]));
        server.signal("HUP");
        read_again(&server, 2);
        more_are_sent();
        ended.store(true, Ordering::SeqCst);
    });
    assert_eq!(server.deliver(PATH, "whsec_a", &sample(7, "charge.succeeded").body).0, 400, "the old one is over");
    server.stop();
}

#[test]
fn changed_files_are_noticed_without_a_signal() {
    let shop = Shop::new();
    shop.write("secret", "whsec_first");
    shop.write("quittance.toml", file(&["file:secret"]));
    let server = serve(&shop);
    let deliver = |seed: u64, secret: &str| server.deliver(PATH, secret, &sample(seed, "charge.succeeded").body).0;
    assert_eq!(deliver(1, "whsec_first"), 200);
    shop.write("secret", "whsec_second");
    read_again(&server, 1);
    assert_eq!((deliver(2, "whsec_second"), deliver(3, "whsec_first")), (200, 400));
    shop.write("quittance.toml", file(&["whsec_third"]));
    read_again(&server, 2);
    assert_eq!((deliver(4, "whsec_third"), deliver(5, "whsec_second")), (200, 400));
    server.stop();
}

#[test]
fn a_broken_file_changes_nothing_and_is_named() {
    let shop = Shop::new();
    shop.write("quittance.toml", file(&["whsec_good"]));
    let server = serve(&shop);
    let takes =
        |seed: u64| assert_eq!(server.deliver(PATH, "whsec_good", &sample(seed, "charge.succeeded").body).0, 200);
    takes(1);
    for (number, (text, named)) in [
        ("[stripe]\nwebhook_secret = [\"whsec_bad\"]\n", "line 2: unknown field `webhook_secret`"),
        ("[stripe]\nwebhook_secrets = [\"env:NOWHERE\"]\n", "NOWHERE"),
        ("[[endpoints]]\nname = \"till\"\ngateway = \"stripe\"\n", "endpoints.till.secrets"),
    ]
    .into_iter()
    .enumerate()
    {
        shop.write("quittance.toml", text);
        server.signal("HUP");
        server.logs(named);
        takes(number as u64 + 2);
    }
    std::fs::remove_file(shop.path("quittance.toml")).expect("it is there");
    server.signal("HUP");
    server.logs("quittance.toml is gone");
    takes(10);
    assert!(!server.log().contains("Configuration read again"), "{}", server.log());
    shop.write("quittance.toml", file(&["whsec_good", "whsec_new"]));
    read_again(&server, 1);
    assert_eq!(server.deliver(PATH, "whsec_new", &sample(11, "charge.succeeded").body).0, 200);
    server.stop();
}

#[test]
fn what_takes_a_restart_is_said() {
    let shop = Shop::new();
    shop.write("quittance.toml", file(&[SECRET]));
    let server = serve(&shop);
    shop.write(
        "quittance.toml",
        format!("database_url = \"sqlite:other.db\"\nlog = \"debug\"\n[connections]\nmax = 7\n{}", file(&[SECRET])),
    );
    server.signal("HUP");
    for key in ["database_url", "log", "connections"] {
        server.logs(&format!("{key} was changed"));
    }
    assert_eq!(server.deliver(PATH, SECRET, &sample(1, "charge.succeeded").body).0, 200);
    server.stop();
    assert!(!shop.path("other.db").exists());
}

/// A request that began before keeps the endpoint that it began with.
#[test]
fn a_request_under_way_is_finished_with_what_it_began_with() {
    use std::io::{Read, Write};
    let shop = Shop::new();
    shop.write("quittance.toml", file(&[SECRET]));
    let server = serve(&shop);
    let whole = request(PATH, SECRET, &sample(1, "charge.succeeded").body);
    let (last, most) = whole.as_bytes().split_last().expect("a request");
    let mut connection = std::net::TcpStream::connect(server.address).expect("it listens");
    connection.write_all(most).expect("it reads");
    // One more that is answered, so that the first surely was read.
    assert_eq!(server.deliver(PATH, SECRET, &sample(2, "charge.succeeded").body).0, 200);
    shop.write("quittance.toml", file(&["whsec_other"]));
    server.signal("HUP");
    read_again(&server, 1);
    assert_eq!(server.deliver(PATH, SECRET, &sample(3, "charge.succeeded").body).0, 400);
    connection.write_all(&[*last]).expect("it still reads");
    connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let (mut reply, started) = ([0; 15], Instant::now());
    connection.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"HTTP/1.1 200 OK", "after {:?}", started.elapsed());
    server.stop();
}
