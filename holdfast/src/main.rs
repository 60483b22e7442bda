//! `holdfast`: the control-plane server. It reads configuration and assembles the roles; what they do is in their own
//! crates.

mod cli;
mod config;
mod dev;
mod peer_ca;
mod plane;
mod process;
mod restore;
mod secrets;
mod serve;

use std::process::ExitCode;

/// Many small messages on many threads; RocksDB takes its memory from the same one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One provider for all TLS of the process; mixing providers fails at run time.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("holdfast: another TLS provider is already installed");
        return ExitCode::FAILURE;
    }
    if let Err(error) = process::prepare() {
        eprintln!("holdfast: cannot prepare the process: {error}");
        return ExitCode::FAILURE;
    }
    cli::run()
}
