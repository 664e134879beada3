//! `quittance config check`, `migrate`, and what every command has in common.

use crate::shop::{SECRET, Shop, json_lines, said};

const COMMANDS: [&[&str]; 17] = [
    &[],
    &["serve"],
    &["demo"],
    &["migrate"],
    &["config", "check"],
    &["trigger"],
    &["simulate"],
    &["verify"],
    &["events"],
    &["events", "list"],
    &["events", "show"],
    &["events", "replay"],
    &["keys", "create"],
    &["keys", "list"],
    &["keys", "revoke"],
    &["audit", "verify"],
    &["audit", "checkpoint"],
];

#[test]
fn every_command_has_help_in_which_every_option_is_explained() {
    let shop = Shop::new();
    for command in COMMANDS {
        let help = shop.run(&[command, &["--help"]].concat()).ok();
        assert!(help.contains("Usage: "), "{command:?}: {help}");
        for line in help.lines().map(str::trim).filter(|line| line.starts_with('-')) {
            let explained = line.split("  ").filter(|part| !part.trim().is_empty()).count() > 1;
            assert!(explained, "{command:?}: {line:?} says nothing");
        }
    }
    assert_eq!(shop.run(&["--version"]).ok(), format!("quittance {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_status_2() {
    let shop = Shop::new();
    for arguments in [&[][..], &["sing"], &["serve", "--loud"], &["events"], &["config"], &["migrate", "now"]] {
        let said = shop.run(arguments).exits(2);
        assert!(said.stdout.is_empty() && said.stderr.contains("Usage: "), "{arguments:?}: {said:?}");
    }
    let said = shop.run(&["serve", "--listen", "everywhere"]).exits(2);
    assert!(said.stdout.is_empty() && said.stderr.contains("--listen"), "{said:?}");
}

#[test]
fn bodies_are_kept_for_longer_than_gateways_try_again() {
    let shop = Shop::new();
    let checked = |retention: &str| {
        shop.write("quittance.toml", format!("[stripe]\nwebhook_secrets = [\"whsec_file\"]\n{retention}"));
        shop.run(&["config", "check"])
    };
    assert!(checked("").ok().contains("bodies     kept\n"));
    let months = checked("[retention]\nbodies = \"90d\"\n").ok();
    assert!(months.contains("bodies     dropped after 90 days\n") && !months.contains("warning"), "{months}");
    let days = checked("[retention]\nbodies = \"3d\"\n").ok();
    assert!(days.contains("warning    retention.bodies is 3d"), "{days}");
    for wrong in ["90", "0d", "-1d", "3w", "", "99999999999d"] {
        let said = checked(&format!("[retention]\nbodies = \"{wrong}\"\n")).exits(1);
        assert!(said.stderr.contains("retention.bodies") && said.stderr.contains("90d"), "{wrong}: {said:?}");
    }
}

#[test]
fn what_is_configured_is_said_without_any_secret() {
    let shop = Shop::new();
    shop.write(
        "quittance.toml",
        "listen = \"0.0.0.0:1234\"\nlog = \"warn\"\n[stripe]\nwebhook_secrets = [\"whsec_file\"]\n",
    );
    let text = shop.run(&["config", "check"]).ok();
    for part in [
        "quittance.toml",
        "sqlite:quittance.db (not there yet",
        "0.0.0.0:1234",
        "warn",
        "runs, 1 secret",
        "without TLS",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!shop.path("quittance.db").exists(), "looking makes no database");
    let mut command = shop.command(&["config", "check", "--json"]);
    command.env("STRIPE_WEBHOOK_SECRET", format!("{SECRET},whsec_second"));
    let report = json_lines(&said(&mut command).ok()).remove(0);
    let endpoints = report["endpoints"].as_array().expect("a list");
    let of = |path: &str| endpoints.iter().find(|endpoint| endpoint["path"] == path).expect(path);
    for path in ["/api/webhooks/stripe", "/payments/webhook"] {
        assert_eq!((&of(path)["runs"], &of(path)["secrets"]), (&true.into(), &2.into()), "{report}");
    }
    assert_eq!((&report["listen"], &report["warnings"].as_array().map(Vec::len)), (&"0.0.0.0:1234".into(), &Some(1)));

    shop.run(&["migrate"]).ok();
    assert!(shop.run(&["config", "check"]).ok().contains("at this version"));
}

#[test]
fn without_a_secret_it_says_what_to_set_and_is_status_1() {
    let shop = Shop::new();
    let without =
        |arguments: &[&str]| said(shop.command(arguments).env_remove("STRIPE_WEBHOOK_SECRET")).exits(1).stdout;
    let text = without(&["config", "check"]);
    for (variable, endpoints) in
        [("STRIPE_WEBHOOK_SECRET", 4), ("PAYPAL_WEBHOOK_ID", 2), ("WEBHOOK_SECRET", 1), ("PAYMENT_API_KEY", 1)]
    {
        assert_eq!(text.matches(&format!("does not run: set {variable};")).count(), endpoints, "{variable}: {text}");
    }
    let report = json_lines(&without(&["config", "check", "--json"])).remove(0);
    let endpoints = report["endpoints"].as_array().expect("a list");
    assert_eq!(endpoints.len(), 8);
    for endpoint in endpoints {
        assert!(endpoint["runs"] == false && endpoint["set"].is_string(), "{endpoint}");
    }
}

#[test]
fn a_mistake_in_the_file_is_one_line_that_names_it_and_shows_no_secret() {
    let shop = Shop::new();
    for (text, named) in [
        ("log = \"info\"\nlisen = \"127.0.0.1:1\"\n", "line 2: unknown field `lisen`"),
        ("[stripe]\nsecret = \"whsec_shown\"\n", "line 2: unknown field `secret`"),
        ("[stripe]\nwebhook_secrets = \"whsec_shown\"\n", "line 2"),
        ("[stripe]\nwebhook_secrets = [\"whsec_shown]\n", "line 2"),
        ("listen = \"everywhere\"\n", "everywhere"),
    ] {
        let file = shop.write("mine.toml", text).display().to_string();
        for command in [&["serve"][..], &["config", "check"], &["migrate"]] {
            let error = shop.run(&[command, &["--config", &file]].concat()).error();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
    let file = shop.write("mine.toml", "log = \"loud\"\n").display().to_string();
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["config", "check"]] {
        let error = shop.run(&[command, &["--config", &file]].concat()).error();
        assert!(error.contains("mine.toml: log=\"loud\"") && !error.contains("QUITTANCE_LOG"), "{error}");
    }
    let missing = shop.run(&["serve", "--config", "nowhere.toml"]).error();
    assert!(missing.contains("nowhere.toml"), "{missing}");
}

#[test]
fn a_mistake_in_the_environment_is_one_line_that_names_it() {
    let shop = Shop::new();
    for (name, value, named) in [
        ("PORT", "http", "PORT=\"http\""),
        ("QUITTANCE_LISTEN", "localhost:80", "localhost:80"),
        ("QUITTANCE_LOG", "verbose", "QUITTANCE_LOG=\"verbose\""),
        ("DATABASE_URL", "postgres://me:whsec_password@db/shop", "postgres://me:…@db/shop"),
        ("DATABASE_URL", "sqlite:/no/such/folder/quittance.db", "/no/such/folder/quittance.db"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_a,,whsec_b", "STRIPE_WEBHOOK_SECRET: a secret is empty"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_a, whsec_b", "white space"),
        ("STRIPE_WEBHOOK_SECRET", "file:nowhere", "nowhere"),
    ] {
        // With `--listen` nobody asks for the port: the other mistakes must end it before it serves.
        let listens = matches!(name, "PORT" | "QUITTANCE_LISTEN");
        let arguments = if listens { &["serve"][..] } else { &["serve", "--listen", "127.0.0.1:0"] };
        let error = said(shop.command(arguments).env(name, value)).error();
        assert!(error.contains(named), "{name}={value}: {error}");
    }
}

/// Looking at a database changes nothing about it, whoever's it is.
#[test]
fn checking_leaves_the_database_as_it_is() {
    let shop = Shop::new();
    let files = |shop: &Shop| {
        let mut names: Vec<String> = std::fs::read_dir(shop.path("."))
            .expect("a folder")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let foreign = rusqlite::Connection::open(shop.path("foreign.db")).expect("a database");
    foreign.execute_batch("CREATE TABLE wp_posts (id INTEGER); INSERT INTO wp_posts VALUES (1)").expect("it is made");
    drop(foreign);
    shop.write(
        "text.db",
        "this is no database, but it is long enough to be taken for the header of one, is it not? It is.",
    );
    std::fs::create_dir(shop.path("folder.db")).expect("a folder");
    for (database, status, said) in [
        ("sqlite:foreign.db", 1, "another program"),
        ("sqlite:text.db", 1, "not usable"),
        ("sqlite:folder.db", 1, "not usable"),
        ("sqlite:nowhere/quittance.db", 1, "nowhere"),
        ("sqlite:new.db", 0, "not there yet"),
        ("mysql://me@db/shop", 1, "not usable"),
    ] {
        let path = shop.path(database.trim_start_matches("sqlite:"));
        let (before, listed) = (std::fs::read(&path).ok(), files(&shop));
        let text = shop.run(&["config", "check", "--database-url", database]).exits(status).stdout;
        assert!(text.contains(said), "{database}: {text}");
        assert_eq!((std::fs::read(&path).ok(), files(&shop)), (before, listed), "{database} is as it was");
    }
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["migrate"]] {
        let error = shop.run(&[command, &["--database-url", "sqlite:foreign.db"]].concat()).error();
        assert!(error.contains("another program"), "{error}");
    }
    shop.run(&["migrate"]).ok();
    let (before, listed) = (std::fs::read(shop.path("quittance.db")).expect("it is there"), files(&shop));
    assert!(shop.run(&["config", "check"]).ok().contains("at this version"));
    assert_eq!((std::fs::read(shop.path("quittance.db")).expect("it is there"), files(&shop)), (before, listed));
    let server = shop.serve();
    assert!(shop.run(&["config", "check"]).ok().contains("at this version"), "beside a server too");
    server.stop();
}

#[test]
fn migrating_twice_is_as_good_as_once() {
    let shop = Shop::new();
    for _ in 0..2 {
        let said = shop.run(&["migrate"]).exits(0);
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", "sqlite:quittance.db is at this version\n"));
    }
    let other = format!("sqlite:{}", shop.path("other.db").display());
    shop.run(&["migrate", "--database-url", &other]).ok();
    assert!(shop.path("other.db").exists());
    let server = shop.serve();
    shop.run(&["migrate"]).ok();
    server.stop();
}
