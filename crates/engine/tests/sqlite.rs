//! The engine on SQLite.

#[path = "it/mod.rs"]
mod it;
/// Proofs have databases of their own, whatever the store is on.
#[path = "it/prove.rs"]
mod prove;

/// Of every test's own.
async fn database() -> testdb::Database {
    testdb::Database::sqlite().await
}
