//! What only PostgreSQL has: servers that are away or set up otherwise, several hosts,
//! and several replicas.

use std::process::Command;

use testdb::{Database, wait};
use xtask::postgres::{self, Settings};

use crate::shop::{PATH, SECRET, Server, Shop, json_lines, said, sample, until};

const PASSWORD: &str = "hunter2";

/// What was given in `QUITTANCE_POSTGRES`.
fn superuser() -> String {
    std::env::var(postgres::URL_VARIABLE).expect("set as `cargo xtask postgres` says")
}

/// `127.0.0.1:5432` of a URL.
fn host(url: &str) -> &str {
    let rest = url.split_once('@').expect("a user").1;
    &rest[..rest.find('/').expect("a database")]
}

/// `shop` of a URL.
fn name(url: &str) -> &str {
    let rest = &url[url.rfind('/').expect("a database") + 1..];
    rest.split('?').next().expect("a name")
}

/// Another user of the server, who may do nothing yet. Goes after what it has rights on.
struct Role {
    name: String,
    server: Database,
}

impl Role {
    fn new() -> Self {
        let role = Self { name: format!("poor_{:016x}", fastrand::u64(..)), server: Database::at(&superuser()) };
        wait(role.server.execute(&format!("CREATE ROLE {} LOGIN PASSWORD '{PASSWORD}'", role.name)));
        role
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{}:{PASSWORD}@{}/{}?sslmode=disable", self.name, host(database), name(database))
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if let Err(error) = wait(self.server.try_execute(&format!("DROP ROLE {}", self.name))) {
            eprintln!("{} is left on the server: {error}", self.name);
        }
    }
}

/// The one line that every command says that needs the database at this URL.
#[track_caller]
fn refusal(shop: &Shop, url: &str) -> String {
    let error = shop.run(&["migrate", "--database-url", url]).error();
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["keys", "create"]] {
        assert_eq!(shop.run(&[command, &["--database-url", url]].concat()).error(), error, "{command:?}");
    }
    error
}

/// As [`refusal`], where looking is enough to see it.
#[track_caller]
fn unusable(shop: &Shop, url: &str) -> String {
    let error = refusal(shop, url);
    for command in [&["events", "list"][..], &["rebuild", "--check"], &["audit", "verify"], &["keys", "list"]] {
        assert_eq!(shop.run(&[command, &["--database-url", url]].concat()).error(), error, "{command:?}");
    }
    let checked = shop.run(&["config", "check", "--database-url", url]).exits(1).stdout;
    let line = checked.lines().find(|line| line.starts_with("database ")).expect("a line");
    assert!(line.contains("not usable") && !line.contains(PASSWORD), "{line}");
    error
}

#[test]
fn what_cannot_be_used_is_one_line_that_says_what_to_do_and_no_password() {
    let shop = Shop::on_postgres();
    let url = shop.database().url();
    let (host, name) = (host(url), name(url));
    for (url, said) in [
        (format!("postgres://me:{PASSWORD}@127.0.0.1:1/shop"), &["127.0.0.1:1: nothing listens there"][..]),
        (format!("postgres://me:{PASSWORD}@{host}/{name}?sslmode=disable"), &["user \"me\"", "correct the user"]),
        (format!("postgres://{host}/{name}?user=me&password={PASSWORD}"), &["password=…", "user \"me\""]),
        (url.replace(name, "not_made"), &["\"not_made\" does not exist", "createdb --encoding=UTF8"]),
        (format!("postgres://me:{PASSWORD}/x@{host}/{name}"), &["write `/` as %2F"]),
        (format!("postgres://me:{PASSWORD}@{host}/{name}?sslmode=perhaps"), &["no address"]),
        (url.replace("sslmode=disable", "sslmode=require"), &["TLS"]),
        (
            format!("postgres://me:{PASSWORD}@127.0.0.1:1,127.0.0.1:2/shop"),
            &["127.0.0.1:1: nothing listens there", "127.0.0.1:2: nothing listens there"],
        ),
    ] {
        let error = unusable(&shop, &url);
        assert!(said.iter().all(|said| error.contains(said)), "{said:?}: {error}");
        assert!(!error.contains(PASSWORD), "{error}");
    }
    // What is triggered may concern a server elsewhere: it asks nobody what is due.
    let server = shop.serve();
    let away = format!("postgres://me:{PASSWORD}@127.0.0.1:1/shop");
    let arguments = ["trigger", "charge.succeeded", "--to", &server.url(), "--order-id", "1", "--database-url", &away];
    shop.run(&arguments).ok();
}

#[test]
fn a_database_of_another_kind_is_left_as_it_is() {
    let shop = Shop::on_postgres();
    let url = shop.database().url();
    wait(shop.database().execute("CREATE TABLE wp_posts (id bigint)"));
    assert!(unusable(&shop, url).contains("another program"));
    wait(shop.database().execute("DROP TABLE wp_posts; CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY,
        description text, installed_on timestamptz DEFAULT now(), success boolean, checksum bytea, execution_time bigint);
        INSERT INTO _sqlx_migrations VALUES (20240101000000, 'theirs', now(), true, '\\x00', 0)"));
    assert!(unusable(&shop, url).contains("another program"));
    assert_eq!(wait(shop.database().value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")), "1");

    let other = format!("quittance_ascii_{:016x}", fastrand::u64(..));
    let server = Database::at(&superuser());
    wait(server.execute(&format!("CREATE DATABASE {other} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")));
    let error = unusable(&shop, &url.replace(name(url), &other));
    wait(server.execute(&format!("DROP DATABASE {other}")));
    assert!(error.contains("encoding is SQL_ASCII") && error.contains("createdb --encoding=UTF8"), "{error}");
}

/// As an administrator gives them, one after the other, each told by what is missing.
#[test]
fn a_role_is_told_which_rights_it_lacks_and_needs_no_more() {
    let role = Role::new();
    let shop = Shop::on_postgres();
    let (database, url) = (shop.database(), role.url(shop.database().url()));
    let migrate = ["migrate", "--database-url", &url];
    wait(database.execute(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", name(&url))));
    let error = unusable(&shop, &url);
    assert!(error.contains("permission denied for database") && error.contains("GRANT CONNECT"), "{error}");
    wait(database.execute(&format!("GRANT CONNECT ON DATABASE {} TO {}", name(&url), role.name)));
    let error = refusal(&shop, &url);
    assert!(error.contains("permission denied for schema public") && error.contains("GRANT CREATE"), "{error}");
    wait(database.execute(&format!("GRANT CREATE ON SCHEMA public TO {}", role.name)));
    let error = refusal(&shop, &url);
    assert!(error.contains("btree_gist") && error.contains("GRANT CREATE ON DATABASE"), "{error}");
    assert!(shop.run(&["config", "check", "--database-url", &url]).ok().contains("(empty; migrate"), "nothing is left");
    wait(database.execute(&format!("ALTER ROLE {} SET default_transaction_read_only = on", role.name)));
    let error = unusable(&shop, &url);
    assert!(error.contains("read-only") && error.contains("default_transaction_read_only"), "{error}");
    wait(database.execute(&format!("ALTER ROLE {} RESET default_transaction_read_only", role.name)));
    // Somebody else's extensions are in nobody's way.
    wait(database.execute("CREATE EXTENSION btree_gist; CREATE EXTENSION pg_buffercache"));
    shop.run(&migrate).ok();
    let said = shop.run(&migrate).exits(0);
    assert!(said.stderr.contains("is at this version") && !said.stderr.contains(PASSWORD), "{said:?}");
    let mut serve = shop.command(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(serve.env("DATABASE_URL", &url));
    assert_eq!(server.deliver(PATH, SECRET, &sample(1, "payment_intent.succeeded").body).0, 200);
    server.applied();
    assert!(!server.log().contains(PASSWORD));
    server.stop();
}

/// The owner of a database needs no right besides.
#[test]
fn the_owner_of_a_database_needs_no_superuser() {
    let role = Role::new();
    let shop = Shop::on_postgres();
    let url = role.url(shop.database().url());
    wait(shop.database().execute(&format!("ALTER DATABASE {} OWNER TO {}", name(&url), role.name)));
    shop.run(&["migrate", "--database-url", &url]).ok();
    shop.run(&["audit", "verify", "--database-url", &url]).ok();
    wait(shop.database().execute(&format!("ALTER DATABASE {} OWNER TO CURRENT_USER", name(&url))));
}

#[test]
fn a_host_that_is_away_is_passed_over() {
    let shop = Shop::on_postgres();
    let url = shop.database().url();
    let several = url.replace(host(url), &format!("127.0.0.1:1,{}", host(url)));
    let mut serve = shop.command(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(serve.env("DATABASE_URL", several));
    assert_eq!(server.deliver(PATH, SECRET, &sample(1, "payment_intent.succeeded").body).0, 200);
    server.applied();
    server.stop();
    assert_eq!(shop.run(&["events", "list", "--state", "applied"]).ok().lines().count(), 1);
}

#[test]
fn the_settings_of_the_database_are_in_force() {
    let shop = Shop::on_postgres();
    let given = "[database]\nconnections = 11\nlanes = 3\nstatement_timeout_seconds = 7\n";
    shop.write("quittance.toml", given);
    let server = shop.serve();
    for seed in 0..20 {
        server.deliver(PATH, SECRET, &sample(seed, "payment_intent.succeeded").body);
    }
    server.applied();
    let key = shop.key("read");
    std::thread::scope(|threads| {
        for _ in 0..16 {
            threads.spawn(|| server.found("/api/payments", &key));
        }
    });
    let connections =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'quittance'";
    let count: u32 = wait(shop.database().value(connections)).parse().expect("a number");
    assert!((3..=11).contains(&count), "{count}");
    shop.write("quittance.toml", "[database]\nlanes = 8\nconnections = 8\n");
    let error = shop.run(&["migrate"]).error();
    assert!(error.contains("line 3: database.connections: it is a number from 12 to 1000"), "{error}");
    server.stop();
}

#[test]
fn what_weakens_the_promise_is_warned_of() {
    let role = Role::new();
    let shop = Shop::on_postgres();
    shop.run(&["migrate"]).ok();
    let url = role.url(shop.database().url());
    let warnings = || {
        let report = json_lines(&shop.run(&["config", "check", "--json", "--database-url", &url]).ok()).remove(0);
        report["warnings"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|line| line.as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    wait(shop.database().execute(&format!("GRANT SELECT ON _sqlx_migrations TO {}", role.name)));
    let before = warnings();
    assert!(before.iter().any(|line| line.contains("without a synchronous standby")), "{before:?}");
    assert!(!before.iter().any(|line| line.contains("synchronous_commit") || line.contains("TLS")), "{before:?}");
    wait(shop.database().execute(&format!("ALTER ROLE {} SET synchronous_commit = off", role.name)));
    let after = warnings();
    assert!(after.iter().any(|line| line.contains("synchronous_commit is off")), "{after:?}");
}

/// A server of its own, because roles of the others' cannot be let in by TLS alone.
#[test]
fn tls_and_a_standby() {
    let primary = postgres::Server::start(Settings { tls: true, ..Settings::scratch() }).expect("it starts");
    let standby = postgres::Server::standby_of(&primary).expect("it follows");
    primary.query("postgres", "CREATE DATABASE shop").expect("it is made");
    let shop = Shop::new();
    let on = |url: &str, arguments: &[&str]| -> Command {
        let mut command = shop.command(arguments);
        command.env("DATABASE_URL", url);
        command
    };
    let url = primary.url("shop");
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    let both = url.replace(host(&url), &hosts);
    let mut serve = on(&both, &["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(&mut serve);
    assert_eq!(server.deliver(PATH, SECRET, &sample(1, "payment_intent.succeeded").body).0, 200);
    server.applied();
    server.stop();
    let of_us = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'quittance' AND NOT ssl";
    assert_eq!(primary.query("postgres", of_us).expect("it answers"), "0");

    let report = json_lines(&said(&mut on(&url, &["config", "check", "--json"])).ok()).remove(0);
    let warnings = report["warnings"].to_string();
    assert!(!warnings.contains("standby") && !warnings.contains("TLS"), "{warnings}");
    let error = said(&mut on(&standby.url("shop"), &["events", "list"])).error();
    assert!(error.contains("it is a standby"), "{error}");
    let plain = format!("{}?sslmode=disable", url.split('?').next().expect("a part"));
    let error = said(&mut on(&plain, &["events", "list"])).error();
    assert!(error.contains("pg_hba.conf"), "{error}");
    let elsewhere = url.replace("sslrootcert=", "sslrootcert=/nowhere");
    let error = said(&mut on(&elsewhere, &["events", "list"])).error();
    assert!(error.contains("No such file") && error.contains("correct sslrootcert"), "{error}");
    let untrusted = url.split("&sslrootcert").next().expect("a part");
    let error = said(&mut on(untrusted, &["events", "list"])).error();
    assert!(error.contains("TLS: ") && error.contains("sslrootcert=FILE"), "{error}");
}

/// Three replicas take deliveries at once; one is asked to end, one is killed. What each of
/// them acknowledged is there, and applied once, by whoever is left.
#[test]
fn replicas_share_a_database_and_none_is_missed() {
    const EVENTS: u64 = 120;
    const SENDERS: u64 = 6;
    let shop = Shop::on_postgres();
    // All at once, on a database that is still empty: one of them brings it to its version.
    let mut replicas: Vec<Server> = std::thread::scope(|threads| {
        let starting: Vec<_> = (0..3).map(|_| threads.spawn(|| shop.serve())).collect();
        starting.into_iter().map(|replica| replica.join().expect("it starts")).collect()
    });
    let key = shop.key("read");
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
    let acknowledged = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|threads| {
        for sender in 0..SENDERS {
            let (addresses, acknowledged) = (&addresses, &acknowledged);
            threads.spawn(move || {
                for number in 0..EVENTS {
                    let event = sample((sender << 32) + number, "payment_intent.succeeded");
                    // As a balancer and a gateway do: another one, again and again.
                    let mut tries = (number + sender) as usize;
                    until("somebody takes it", || {
                        tries += 1;
                        let request = crate::shop::request(PATH, SECRET, &event.body);
                        let reply = bench::quittance::send(addresses[tries % addresses.len()], request.as_bytes());
                        reply.ok().filter(|(status, _)| *status == 200)
                    });
                    acknowledged.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
        let after = |count: u64| {
            let passed = || acknowledged.load(std::sync::atomic::Ordering::SeqCst) >= count;
            until("so many are acknowledged", || passed().then_some(()));
        };
        after(SENDERS * EVENTS / 4);
        replicas.remove(0).stop();
        after(SENDERS * EVENTS / 2);
        let mut killed = replicas.remove(0);
        killed.signal("KILL");
        assert_eq!(killed.ended().code(), None);
    });
    let left = replicas.remove(0);
    left.applied();
    let expected = usize::try_from(SENDERS * EVENTS).expect("few");
    let events = json_lines(&shop.run(&["events", "list", "--limit", "0", "--json"]).ok());
    assert_eq!(events.len(), expected);
    assert!(events.iter().all(|event| event["state"] == "applied"), "all are applied");
    let paid = bench::quittance::payments(left.address, &key).expect("a list");
    assert_eq!((paid.len(), paid.iter().all(|payment| payment.status == "paid")), (expected, true));
    let twice = "SELECT count(*) FROM (SELECT 1 FROM order_status_history GROUP BY payment_id, order_id HAVING count(*) > 1) AS twice";
    assert_eq!(wait(shop.database().value(twice)), "0", "nothing is told twice");
    left.stop();
    shop.run(&["rebuild", "--check"]).ok();
    shop.run(&["audit", "verify"]).ok();
}
