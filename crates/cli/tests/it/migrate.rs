//! `quittance migrate`

use testdb::wait;

use crate::shop::Shop;

on_each!(migrating_again_changes_nothing, tables_are_not_spread_where_they_cannot_be);

fn migrating_again_changes_nothing(shop: Shop) {
    shop.run(&["migrate"]).ok();
    let before = wait(shop.database().dump());
    assert!(shop.run(&["migrate"]).exits(0).stderr.contains("is at this version"));
    assert_eq!(wait(shop.database().dump()), before);
}

fn tables_are_not_spread_where_they_cannot_be(shop: Shop) {
    shop.run(&["migrate", "--dry-run"]).exits(2);
    let refused = shop.run(&["migrate", "--distribute"]).exits(1);
    let line = refused.stderr.lines().last().unwrap_or_default();
    if !shop.database().is_postgres() {
        assert!(line.contains("SQLite is one file"), "{line}");
        assert!(shop.run(&["migrate", "--distribute", "--dry-run"]).exits(1).stderr.contains("SQLite is one file"));
        return;
    }
    assert!(line.contains("CREATE EXTENSION citus"), "{line}");
    let before = wait(shop.database().dump());
    let statements = shop.run(&["migrate", "--distribute", "--dry-run"]).ok();
    assert!(statements.lines().all(|line| line.ends_with(';')), "{statements}");
    for statement in [
        "SELECT create_distributed_table('event', 'account');",
        "SELECT create_distributed_table('payment', 'account', colocate_with => 'event');",
        "SELECT create_reference_table('api_key');",
    ] {
        assert_eq!(statements.lines().filter(|line| *line == statement).count(), 1, "{statement}");
    }
    assert_eq!(wait(shop.database().dump()), before);
}
