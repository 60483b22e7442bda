use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{config::Flags, peer_ca, restore, serve};

/// Exit code for a configuration that can never work: a supervisor must not restart into it (EX_CONFIG).
pub(crate) const EXIT_CONFIG: u8 = 78;

/// The Holdfast control plane: configuration, locks, identities and their history in one server.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a control-plane server with all services.
    Serve(Serve),
    /// Run the etcd drop-in alone; takes etcd's flags and ETCD_ variables.
    #[command(disable_help_flag = true)]
    Chainfire {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Fill an empty data folder from a backup, for the first server of a new cluster.
    Restore(restore::Command),
    /// Make the certificates that servers show each other.
    #[command(subcommand)]
    PeerCa(peer_ca::Command),
}

#[derive(Debug, Args)]
struct Serve {
    /// Lab server: loopback, plaintext, generated secrets. Never for real data.
    #[arg(long)]
    dev: bool,
    /// Configuration file (YAML); required without --dev.
    #[arg(long, value_name = "FILE", required_unless_present = "dev")]
    config: Option<PathBuf>,
    /// Where this server keeps its data.
    #[arg(long, value_name = "DIR", required_if_eq("dev", "true"), default_value = "/var/lib/holdfast")]
    data_dir: PathBuf,
    /// Address of the gRPC API door, over the configuration file's.
    #[arg(long, value_name = "ADDR")]
    api: Option<String>,
    /// Address of the HTTP door for nodes and browsers.
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Address of the PostgreSQL door.
    #[arg(long, value_name = "ADDR")]
    sql: Option<String>,
    /// Address of the door for the other servers.
    #[arg(long, value_name = "ADDR")]
    peer: Option<String>,
    /// Ask the other servers, which must be a majority, to give this one its place back: it has lost its data.
    #[arg(long)]
    rejoin_wiped: bool,
    /// Print the configuration as it is in force, without the values of secrets, and end.
    #[arg(long)]
    print_config: bool,
}

/// Parses the command line and runs it to the end.
pub(crate) fn run() -> ExitCode {
    let called_as_etcd = std::env::args_os()
        .next()
        .is_some_and(|name| PathBuf::from(name).file_name().is_some_and(|name| name == "etcd"));
    if called_as_etcd {
        return serve::chainfire(std::env::args_os().skip(1).collect());
    }
    match Cli::parse().command {
        Command::Serve(serve) => {
            let Serve { dev, config, data_dir, api, http, sql, peer, rejoin_wiped, print_config } = serve;
            let flags = Flags { dev, data_dir, api, http, sql, peer, rejoin_wiped };
            if print_config {
                serve::print_config(config.as_deref(), &flags)
            } else {
                serve::suite(config.as_deref(), &flags)
            }
        }
        Command::Chainfire { args } => serve::chainfire(args),
        Command::Restore(command) => restore::run(&command),
        Command::PeerCa(command) => peer_ca::run(command),
    }
}
