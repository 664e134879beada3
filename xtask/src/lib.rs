//! What the tasks run other programs with: also for whoever else has to start a PostgreSQL.

pub mod packages;
pub mod postgres;
pub mod shell;
