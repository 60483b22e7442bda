use std::path::PathBuf;

use clap::Subcommand;
use configsrv_fleet::Span;

/// For when nothing else lets you in: operators sign a grant with keys that lie offline, and servers that know these keys
/// take it instead of a token, also without a quorum.
#[derive(Debug, Subcommand)]
pub(crate) enum BreakGlass {
    /// Make an operator's key: keep it offline. Its public half goes to the servers' configuration.
    Key {
        /// The private key's file; the public half goes beside it, with .pub at the end.
        #[arg(value_name = "FILE")]
        out: PathBuf,
    },
    /// Write a grant that nobody has signed yet.
    Request {
        /// The new file. With enough signatures it is a token: use it with --token-file.
        #[arg(value_name = "FILE")]
        out: PathBuf,
        /// The servers' trust domain.
        #[arg(long)]
        trust_domain: String,
        /// Only for this server [default: all].
        #[arg(long)]
        server: Option<String>,
        /// admin, operator, auditor or reader; several times for several.
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
        /// How long it is good from now on, at most 4h.
        #[arg(long, default_value = "1h")]
        ttl: Span,
        /// Why, for the history.
        #[arg(long)]
        reason: String,
    },
    /// Sign a grant, after a look at it with `show`.
    Sign {
        #[arg(value_name = "FILE")]
        grant: PathBuf,
        /// The operator's key, PEM.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Show what a grant says and who is said to have signed it.
    Show {
        #[arg(value_name = "FILE")]
        grant: PathBuf,
    },
}
