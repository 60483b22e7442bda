use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `florctl iam trust`.
#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    /// List the authorities and when their next step is possible.
    List,
    /// Trust another authority: a new one of the servers' own, which issues once it is activated, or somebody else's.
    Add {
        /// The self-signed certificate of somebody else's authority, PEM.
        #[arg(long, value_name = "FILE")]
        cert: Option<PathBuf>,
        /// What that authority made of the request of `request`, PEM: the servers issue with it once they are told to.
        #[arg(long, value_name = "FILE", requires = "cert")]
        issuing: Option<PathBuf>,
        /// Its certificates name principals by their SPIFFE ids, as our own do. Without it only mapping rules say whom they
        /// name.
        #[arg(long, requires = "cert")]
        own_names: bool,
        #[arg(long)]
        dry_run: bool,
    },
    /// Have the servers make a key, which never leaves them, and ask for its certificate below an offline root.
    Request {
        /// Where the request goes, PEM [default: the standard output].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Issue with another certificate below the same root. What was issued before stays good until it ends.
    IssueWith {
        /// The root: SHA-256 of its public key, hex.
        root: String,
        /// What the root made of the request of `request`, PEM.
        #[arg(long, value_name = "FILE")]
        issuing: PathBuf,
        /// Say what would happen, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Issue with this authority from now on; the one before stays trusted.
    Activate {
        #[command(flatten)]
        root: RootStep,
        /// Without waiting for those who fetch the bundle and say nothing about themselves.
        #[arg(long)]
        now: bool,
    },
    /// Trust it no more, and close the connections that were opened with its certificates.
    Remove(RootStep),
    /// The same at once and for good: somebody else may have its key.
    Distrust(RootStep),
    /// Forget a removed one.
    Purge(RootStep),
    /// Let one certificate count no more, whoever issued it, and close its connections.
    Deny {
        /// Its serial number, hex.
        serial: String,
        #[arg(long)]
        reason: String,
    },
    /// Let it count again.
    Allow { serial: String },
    /// List the certificates that do not count.
    Denied,
    /// Names in certificates that stand for principals, beside their SPIFFE ids.
    #[command(subcommand)]
    Mapping(Mapping),
    /// Say whom a certificate names now, and after each removal that may come.
    Check {
        /// The certificate and what its holder sends with it, PEM.
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
    },
}

/// `florctl iam trust mapping`.
#[derive(Debug, Subcommand)]
pub(crate) enum Mapping {
    /// List the rules and when their next step is possible.
    List,
    /// Let another name stand for a principal. Its first name is active at once.
    Add {
        /// user/mira, service/ci, node/pier2; or node/* for whoever is called as the * of the name says.
        principal: String,
        /// uri:TEXT, dns:TEXT or cn:TEXT, where one * may stand for a part.
        name: String,
        /// Only if this authority vouches for it (as `trust list` names it).
        #[arg(long, value_name = "ID")]
        authority: Option<String>,
        #[arg(long)]
        dry_run: bool,
    },
    /// It is the principal's name from now on; the one before counts, too, until it is removed.
    Activate {
        #[command(flatten)]
        rule: MappingRule,
        /// Without waiting for those who verify and say nothing about themselves.
        #[arg(long)]
        now: bool,
    },
    /// Let it count no more, and close the connections that were opened with it.
    Remove(MappingRule),
    /// The same at once and for good.
    Distrust(MappingRule),
    /// Forget a removed one.
    Purge(MappingRule),
    /// Forget every name of a principal, and close the connections that were opened with them.
    Drop {
        principal: String,
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct MappingRule {
    pub(crate) principal: String,
    /// As `list` shows it.
    pub(crate) name: String,
    /// Say what would happen, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait for nothing. What that breaks is said; with --dry-run before it is done.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RootStep {
    /// The authority: SHA-256 of its public key, hex.
    pub(crate) id: String,
    /// Say what would happen, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait for nothing. What that breaks is said; with --dry-run before it is done.
    #[arg(long)]
    pub(crate) force: bool,
}
