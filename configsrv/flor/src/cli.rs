use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use configsrv_fleet::{NodeName, Span, Subject, Version, plan::COMMIT_TIMEOUT};

use crate::policy::{ConfirmPolicy, SyncMode};

/// Exit codes: 0 done, 1 unexpected, 2 usage, 4 an update is available (--dry-run --exit-code), 5 replay refused,
/// 6 signature, trust or schema, 7 server unreachable (try again), 8 nothing pending or already pending, 9 the new
/// version failed or was not confirmed and is rolled back, 78 cluster.json or a record of this node cannot be used.
#[derive(Debug, Parser)]
#[command(name = "flor", version, about = "The node agent", after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Where the agent keeps its state [default: /var/lib/flor if it exists, else ~/.flor].
    #[arg(long, global = true, env = "FLOR_HOME")]
    pub home: Option<PathBuf>,
    /// Which cluster, when this machine is enrolled in several.
    #[arg(long, global = true, env = "FLOR_CLUSTER")]
    pub cluster: Option<String>,
    /// How long units that were restarted or reloaded have to stay up with their new files; 0 does not watch them.
    #[arg(long, global = true, env = "FLOR_LIVENESS", value_name = "DURATION", default_value = "3s")]
    pub liveness: Span,
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 unexpected, 2 usage, 4 update available (--dry-run --exit-code), 5 replay \
    refused, 6 not trusted, 7 unreachable, 8 nothing or something else pending, 9 rolled back, 78 cluster.json or a \
    record of this node is damaged.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Join a cluster, with a bundle of florctl issue-bundle or a join token.
    Enroll(Enroll),
    /// Keys that never leave this machine.
    #[command(subcommand)]
    Id(Id),
    /// Fetch and activate this node's current version, or finish a sync that is pending.
    Sync(Sync),
    /// Show what runs, what is pending and what happened last.
    Status {
        /// The same as -o json.
        #[arg(long)]
        json: bool,
        /// As Prometheus reads it, for node_exporter's textfile collector.
        #[arg(long, conflicts_with = "json")]
        metrics: bool,
    },
    /// Show which files of the active version somebody else changed, or write them again.
    Drift(Drift),
    /// The daemon.
    #[command(subcommand)]
    Agent(Agent),
    /// Hold a slot of a lock group while a command runs.
    Lock(Lock),
    /// Show the version of this program.
    Version,
    /// Print completions for a shell.
    Completions { shell: Shell },
    /// Print the manual page, or write one for every command to a folder.
    Man {
        /// The folder.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Drift {
    /// Show how texts differ from what the active version says.
    #[arg(long)]
    pub diff: bool,
    /// Write them again, and tell the programs that they are for.
    #[arg(long, conflicts_with = "diff")]
    pub repair: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Watch over pending versions, run the data plane, and serve the other commands over a socket.
    Run(Run),
    /// The same as flor sync.
    #[command(hide = true)]
    Sync(Sync),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Who starts a sync.
    #[arg(long, value_enum, default_value_t = SyncMode::Manual)]
    pub sync: SyncMode,
    /// Who confirms what is pending [default: manual for --sync manual, else health].
    #[arg(long, value_enum)]
    pub confirm_policy: Option<ConfirmPolicy>,
    /// How often --sync timer asks [default: what the active version says, else 5m].
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<Span>,
    /// How long a version that came by itself waits for its confirmation before this node goes back.
    #[arg(long, value_name = "DURATION", default_value = COMMIT_TIMEOUT)]
    pub commit_timeout: Span,
    /// How often it is looked whether files of the active version were changed.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub look_every: Span,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Id {
    /// Make keys for this node and those on it, and requests for their certificates: florctl issue-bundle --csr answers
    /// them with a bundle. To repeat it makes the same requests again.
    Create {
        #[arg(long)]
        node: NodeName,
        /// Who else is on the node: user/NAME, service/NAME or service/NODE/NAME; may be repeated.
        #[arg(long = "principal", value_name = "KIND/NAME")]
        principals: Vec<Subject>,
        /// Where the requests go [default: the standard output].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Enroll {
    /// What florctl issue-bundle made for this node. Again with a newer one, it adds and renews certificates.
    #[arg(conflicts_with_all = ["join_token_file", "api", "servers", "ca_file"])]
    pub bundle: Option<PathBuf>,
    /// A file with the join token; without it, FLOR_JOIN_TOKEN is read.
    #[arg(long)]
    pub join_token_file: Option<PathBuf>,
    /// The API address of a server, e.g. https://hub:2379; several in the order in which they are tried.
    #[arg(long, required_unless_present = "bundle")]
    pub api: Vec<String>,
    /// The HTTP address of a server, e.g. https://hub:8080; several in the order in which they are tried.
    #[arg(long = "server", required_unless_present = "bundle")]
    pub servers: Vec<String>,
    /// Authorities of the servers' TLS certificates, PEM. Required for https.
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// A name for this cluster on this machine [default: the trust domain].
    #[arg(long = "as")]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// How long the new version waits for its confirmation before this node goes back; 0 asks for none.
    #[arg(long, value_name = "DURATION", default_value = COMMIT_TIMEOUT)]
    pub commit_timeout: Span,
    /// Only show what would happen.
    #[arg(long, conflicts_with_all = ["commit_timeout", "confirm", "cancel", "supersede"])]
    pub dry_run: bool,
    /// With --dry-run: exit with 4 when an update is available.
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,
    /// Keep the pending version for good, if the servers are reached through it and each of its probes holds; a number
    /// demands that it is that version.
    #[arg(long, value_name = "VERSION", num_args = 0..=1, require_equals = true, conflicts_with_all = ["commit_timeout", "cancel", "supersede"])]
    pub confirm: Option<Option<Version>>,
    /// With --confirm, of a version that came with --from: keep it on your word, though neither the servers nor its probes
    /// are asked. It is written down, and the servers are told when they are back.
    #[arg(long, requires = "confirm", conflicts_with_all = ["cancel", "from", "dry_run"])]
    pub local: bool,
    /// With --confirm: reach the servers, and do not ask the probes that the version names. That is written down, and the
    /// servers are told.
    #[arg(long, requires = "confirm", conflicts_with_all = ["cancel", "from", "dry_run", "local"])]
    pub without_probes: bool,
    /// Take this node's signed artifact from a file of florctl compile, past the servers. Everything else is as ever: what is
    /// checked, the window, the way back.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["confirm", "cancel"])]
    pub from: Option<PathBuf>,
    /// Go back from the pending version now.
    #[arg(long, conflicts_with_all = ["commit_timeout", "supersede"])]
    pub cancel: bool,
    /// Replace a pending version; the way back stays the same, the time begins anew.
    #[arg(long)]
    pub supersede: bool,
    /// Let a content in again that failed here before, and try it; the servers record it.
    #[arg(long)]
    pub retry_rejected: bool,
    /// Go over files that somebody changed here, where the active version says that a person decides about them (drift:
    /// freeze).
    #[arg(long, conflicts_with_all = ["confirm", "cancel", "dry_run"])]
    pub overwrite_drift: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Lock {
    #[arg(long, default_value = "default")]
    pub group: String,
    /// Who holds [default: the node's name].
    #[arg(long)]
    pub id: Option<String>,
    /// Ask again until there is a slot.
    #[arg(long)]
    pub wait: bool,
    /// What to run while the slot is held.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}
