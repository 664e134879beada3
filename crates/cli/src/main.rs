//! `quittance`: one binary for the server and everything that is done beside it.

mod commands;
mod config;
mod output;
mod reload;
mod sender;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// Less contention than the system's allocator: see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = commands::Cli::parse(); // Wrong usage ends here, with status 2.
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell!("quittance: the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(commands::run(cli)).unwrap_or_else(|error| output::fail(&error))
}
