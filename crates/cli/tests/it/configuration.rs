//! `quittance config check`, `migrate`, and what every command has in common.

use crate::shop::{SECRET, Shop, json_lines, said};

const COMMANDS: [&[&str]; 16] = [
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
    assert_eq!(text.matches("does not run: set STRIPE_WEBHOOK_SECRET").count(), 2, "{text}");
    let report = json_lines(&without(&["config", "check", "--json"])).remove(0);
    assert_eq!(
        (&report["endpoints"][0]["runs"], &report["endpoints"][0]["set"]),
        (&false.into(), &"STRIPE_WEBHOOK_SECRET".into())
    );
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
