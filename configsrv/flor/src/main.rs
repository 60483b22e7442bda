//! The node agent: fetches this node's configuration, activates it under a guard, and goes back by itself when nobody
//! confirms it.

mod activate;
mod agent;
#[cfg(test)]
mod agent_tests;
mod autosync;
mod bundle;
mod carried;
mod certificate;
mod chance;
mod cli;
mod clock;
mod cluster;
mod commands;
mod daemon;
mod disk;
mod drift;
mod enroll;
mod error;
mod health;
mod home;
mod identities;
mod ipc;
mod lane;
mod lock;
mod machine;
mod manual;
mod metrics;
mod op_lock;
mod outcome;
mod plane;
mod policy;
mod renewal;
mod retell;
mod screen;
mod server;
mod stop_at;
mod store;
mod tally;
mod trouble;
mod trust;
mod verify;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use error::Error;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_env("FLOR_LOG").unwrap_or_else(|_| EnvFilter::new("warn,flor=info"));
    let colours = io::stderr().is_terminal();
    // A log that nobody reads any more is no reason to end.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).log_internal_errors(false);
    log.with_writer(io::stderr).init();
    // Fails only if it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::complain(&error);
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            screen::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
