//! `holdfast peer-ca`: the certificates that servers show each other.

use std::{path::PathBuf, process::ExitCode};

use chainfire_raft::peer_ca;
use clap::Subcommand;

use crate::config::is_dns_label;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a CA for the servers of one cluster. Its key stays offline; it is needed only to issue.
    Init {
        /// Where the CA's key and certificate go.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Issue one server's certificate; its name is the server's name in `members`.
    Issue {
        /// Where `init` put the CA.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        #[arg(long)]
        name: String,
        /// A host name or address that peers dial; may be given several times.
        #[arg(long, value_parser = host)]
        host: Vec<String>,
        /// Where `peer.crt`, `peer.key` and `ca.crt` go.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// A port or a URL would become part of a name that no peer ever dials.
fn host(text: &str) -> Result<String, String> {
    let address = text.parse::<std::net::IpAddr>().is_ok();
    let name = !text.is_empty() && text.split('.').all(|label| is_dns_label(&label.to_ascii_lowercase()));
    if address || name { Ok(text.to_owned()) } else { Err("neither a host name nor an address".to_owned()) }
}

pub(crate) fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Init { out } => peer_ca::init(&out).map(|certificate| {
            println!("{}", certificate.display());
        }),
        Command::Issue { ca, name, host, out } => peer_ca::issue(&ca, &name, &host, &out).map(|issued| {
            println!("{}\n{}\n{}", issued.certificate.display(), issued.key.display(), issued.ca.display());
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast peer-ca: {error}");
            ExitCode::FAILURE
        }
    }
}
