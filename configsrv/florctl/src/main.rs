//! The operator's command line.

mod cli;
mod commands;
mod failure;
mod output;
mod progress;
mod remote;
mod settings;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use cli::Cli;
use output::Format;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Wrong usage ends here with code 2, and --help with 0.
    let cli = Cli::parse();
    // Fails only if a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let format = cli.output;
    match commands::run(cli).await {
        Ok(code) => code.into(),
        Err(failure) => {
            match format {
                Format::Table => eprintln!("{failure}"),
                Format::Json => eprintln!("{}", failure.to_json()),
            }
            failure.code().into()
        }
    }
}
