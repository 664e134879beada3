//! `quittance demo`

use std::process::Command;

use serde_json::Value;

use crate::shop::{Server, Shop, json_lines, said, until};

#[test]
fn it_ends_well_after_the_payments_asked_for() {
    let shop = Shop::new();
    let said = shop.run(&["demo", "--payments", "40", "--rate", "0", "--listen", "127.0.0.1:0", "--seed", "3"]);
    let stdout = said.ok();
    assert!(stdout.contains("seed 3: 40 payments, 0 of them not as they should be"), "{stdout}");
    assert!(!shop.path("quittance.db").exists(), "it leaves nothing behind");
}

#[test]
fn what_it_says_to_look_at_is_there_while_it_runs() {
    let shop = Shop::new();
    let mut server = Server::start(&mut shop.command(&["demo", "--listen", "127.0.0.1:0", "--rate", "0"]));
    let stdout = until("a round is done", || Some(server.stdout()).filter(|said| said.contains("acknowledged;")));
    server.applied(); // What is acknowledged shows a moment later.
    let mut calls = 0;
    for line in stdout.lines().map(str::trim).filter(|line| line.starts_with("curl ")) {
        let key = line.split_once("Bearer ").and_then(|(_, rest)| Some(rest.split_once('\'')?.0)).unwrap_or_default();
        let url = line.rsplit(' ').next().expect("a URL").trim_matches('\'');
        let path = url.strip_prefix(&format!("http://{}", server.address)).expect("it is this server's");
        let found = server.found(path, key);
        match path.split('?').next().expect("a path") {
            "/api/webhooks/health" => assert_eq!(found["status"], "ok", "{found}"),
            "/api/webhooks/stats" => assert!(found["applied"].as_u64() > Some(0), "{found}"),
            _ => assert_eq!(found["data"].as_array().map(Vec::len), Some(3), "{line}: {found}"),
        }
        calls += 1;
    }
    assert_eq!(calls, 4, "{stdout}");
    let list = stdout.lines().map(str::trim).find(|line| line.contains(" events list ")).expect("a command to try");
    let mut words = list.split(' ');
    let mut events = Command::new(words.next().expect("a program"));
    let events: Vec<Value> = json_lines(&said(events.args(words).args(["--json", "--limit", "5"])).ok());
    assert_eq!(events.len(), 5);
    server.signal("INT");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

#[test]
fn it_takes_another_port_where_its_own_is_in_use() {
    let shop = Shop::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut server = Server::start(&mut shop.command(&["demo", "--listen", &address]));
    assert_ne!(server.address.to_string(), address);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}
