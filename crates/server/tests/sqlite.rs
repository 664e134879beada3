//! The server's contract on SQLite.

#[path = "it/mod.rs"]
mod it;

/// Of every test's own.
async fn database() -> testdb::Database {
    testdb::Database::sqlite().await
}
