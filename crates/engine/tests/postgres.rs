//! The engine on PostgreSQL.

#[path = "it/mod.rs"]
mod it;
/// SQLite has one writer, whichever process it is in.
#[path = "it/replicas.rs"]
mod replicas;

/// Of every test's own.
async fn database() -> testdb::Database {
    testdb::Database::postgres().await
}
