//! What can be typed.

mod audit;
mod authoring;
mod break_glass;
mod directory;
mod identity;
mod keys;
mod recovery;
mod revoke;
mod store;
mod trust;
mod tunnel;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use configsrv_fleet::{NodeName, Version};

use crate::output::Format;

pub(crate) use self::{
    audit::Audit,
    authoring::{Init, Plan, Schema},
    break_glass::BreakGlass,
    directory::{GrantKeys, Group, KeyAccess, Principal, Scope},
    identity::{Bootstrap, Credential, Explain, Iam, JoinToken, Key, KeyStep, Policy, Rotate, RotateOrder, Token},
    keys::{Ca, Holder, IssueBundle, Keys},
    recovery::{Recovery, Revocations},
    revoke::Revoke,
    store::{Backup, Restore},
    trust::{Mapping, MappingRule, RootStep, Trust},
    tunnel::Tunnel,
};

const EXIT_CODES: &str = "Exit codes:\n  0 done or nothing to do   1 unexpected failure   2 wrong usage\n  \
    3 the repository has errors   4 there are differences (diff --exit-code)\n  \
    5 version conflict   6 signature, key, certificate or schema not accepted\n  \
    7 unreachable, try again   8 not in this state";

/// Validate, compile, publish and watch a fleet's configuration; manage identities, locks and history.
#[derive(Debug, Parser)]
#[command(name = "florctl", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the servers are. A token comes from the variable HOLDFAST_TOKEN or a file, never from the command line.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Servers")]
pub(crate) struct Connection {
    /// The API (gRPC): http://127.0.0.1:2379.
    #[arg(long, global = true, env = "HOLDFAST_API", value_name = "URL")]
    pub(crate) api: Option<String>,
    /// The HTTP interface: http://127.0.0.1:8080.
    #[arg(long, global = true, env = "HOLDFAST_HTTP", value_name = "URL")]
    pub(crate) http: Option<String>,
    /// Certificates of the authority that the servers' certificates are checked against, PEM.
    #[arg(long, global = true, env = "HOLDFAST_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// A file with the bearer token, or with an access key as ID:SECRET.
    #[arg(long, global = true, env = "HOLDFAST_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The folder of a `holdfast serve --dev`: its addresses and its admin token.
    #[arg(long, global = true, env = "HOLDFAST_DEV_DIR", value_name = "DIR")]
    pub(crate) dev_dir: Option<PathBuf>,
    /// Settings, with the fields api, http, ca and token_file [default: ~/.config/florctl/config.yaml].
    #[arg(long, global = true, env = "FLORCTL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tunnel: Tunnel,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a repository for a new cluster: what every cluster has, with comments that say how to go on.
    Init(Init),
    /// Print the JSON Schema of the repository's YAML, for editors.
    Schema(Schema),
    /// Check the repository against every rule.
    Validate(Repository),
    /// Make the artifact of every node, for the next version.
    Compile(Compile),
    /// Show what a publish would change: who gains and loses access, which nodes restart.
    Diff(Diff),
    /// Show what publishing the repository would do, in groups, and the order in which nodes should take it.
    Plan(Plan),
    /// Compile again on top of what the servers have, when somebody else published first.
    Rebase(Rebase),
    /// Give the compiled tree to the servers.
    Publish(Publish),
    /// List what was published.
    #[command(args_conflicts_with_subcommands = true)]
    Versions(Versions),
    /// Show which version every node has.
    Fleet(Fleet),
    /// Show one node.
    Node { name: NodeName },
    /// Say why a node does not have what is published, what has to happen next, and who does it.
    Why { name: NodeName },
    /// Cut somebody off on every node now, whatever version it runs, and show how far that is with `revocations`.
    Revoke(Revoke),
    /// Show who is revoked, and which nodes apply it since when.
    Revocations,
    /// The cluster's certificate authority, on this machine.
    #[command(subcommand)]
    Ca(Ca),
    /// Write what a node needs to take part: whom to trust and ask, and the certificates of everybody on it.
    IssueBundle(IssueBundle),
    /// Who holds which certificate: enrollment.log, and what the servers know about enrolled nodes.
    #[command(subcommand)]
    Enrollment(Enrollment),
    /// Principals, roles, tokens, keys.
    #[command(subcommand)]
    Iam(Iam),
    /// Ask the history of changes, in SQL.
    #[command(args_conflicts_with_subcommands = true)]
    History(History),
    /// Show what was done: who published, what became of it on the nodes, who was revoked.
    Audit(Audit),
    /// Reboot locks.
    #[command(subcommand)]
    Lock(Lock),
    /// Show the servers: who leads, who lags, sizes, alarms.
    Status,
    /// Copy everything that the servers hold into one file, while they go on.
    Backup(Backup),
    /// Check a backup, and begin a new cluster with it.
    Restore(Restore),
    /// Print completions for a shell.
    Completions { shell: Shell },
    /// Print the manual page, or write one for every command to a folder.
    Man {
        /// The folder.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Which files make the fleet.
#[derive(Args, Clone, Debug)]
pub(crate) struct Repository {
    /// The fleet repository.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) repo: PathBuf,
    /// Only these files or globs, relative to the repository; may be repeated.
    #[arg(short = 'f', long = "file", value_name = "GLOB")]
    pub(crate) files: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Compile {
    #[command(flatten)]
    pub(crate) repository: Repository,
    /// Print this node's artifact and write nothing.
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<NodeName>,
    /// Write the tree to this folder instead of .flor/compiled, whose versions go on counting.
    #[arg(long, value_name = "DIR", conflicts_with = "node")]
    pub(crate) out: Option<PathBuf>,
    /// Private key of a signer in cluster.yaml, PEM. Without it the tree cannot be published.
    #[arg(long, env = "FLORCTL_SIGN_KEY", value_name = "FILE")]
    pub(crate) sign_key: Option<PathBuf>,
    /// The time that is stamped, RFC 3339 [default: SOURCE_DATE_EPOCH, else now].
    #[arg(long, value_name = "TIME")]
    pub(crate) generated_at: Option<String>,
    /// Compile although it would lock operators or nodes out.
    #[arg(long)]
    pub(crate) allow_lockout: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Rebase {
    #[command(flatten)]
    pub(crate) compile: Compile,
    #[command(flatten)]
    pub(crate) ignored: Ignored,
}

/// Nodes whose word does not count.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Ignored {
    /// Do as if this node had reported nothing: it is gone for good, or it lies; may be repeated.
    #[arg(long = "ignore-reports-of", value_name = "NODE", value_delimiter = ',')]
    pub(crate) nodes: Vec<NodeName>,
}

impl Ignored {
    pub(crate) fn has(&self, node: &str) -> bool {
        self.nodes.iter().any(|ignored| ignored.as_str() == node)
    }
}

#[derive(Args, Debug)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) repository: Repository,
    /// Compare with what the servers have instead of the compiled tree.
    #[arg(long)]
    pub(crate) published: bool,
    /// End with 4 if there are differences.
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) repository: Repository,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// The version that the servers must have [default: the one that they have].
    #[arg(long, value_name = "VERSION")]
    pub(crate) base_version: Option<Version>,
    /// The HTTP interface to publish at [default: that of --http, else publish_url in cluster.yaml].
    #[arg(long, value_name = "URL")]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    pub(crate) ignored: Ignored,
    /// A note for the history.
    #[arg(long)]
    pub(crate) note: Option<String>,
    /// Publish although it would lock operators or nodes out.
    #[arg(long)]
    pub(crate) allow_lockout: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Versions {
    #[command(subcommand)]
    pub(crate) command: Option<VersionsCommand>,
    /// At most so many, newest first.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VersionsCommand {
    /// Show what changed from one published version to another: who gained and lost access, which nodes restarted.
    Diff { from: Version, to: Version },
}

#[derive(Args, Debug)]
pub(crate) struct Fleet {
    /// Compare with this version [default: the current one].
    #[arg(long, value_parser = published)]
    pub(crate) version: Option<Version>,
    /// Only nodes that do not have it.
    #[arg(long)]
    pub(crate) stale: bool,
    /// Go on until Ctrl-C: a terminal is drawn anew when something changes, elsewhere each change is a line.
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Versions are counted from 1.
fn published(text: &str) -> Result<Version, String> {
    match text.parse() {
        Ok(Version::NONE) => Err("no version is published as 0; the first one is 1".to_owned()),
        Ok(version) => Ok(version),
        Err(error) => Err(format!("{error}")),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Enrollment {
    /// Add the servers' enrolments, and those that count no more, to enrollment.log.
    Pull {
        #[command(flatten)]
        repository: Repository,
        /// A signer's key (PKCS #8 PEM): every new line is signed with it.
        #[arg(long, value_name = "FILE")]
        sign_key: Option<PathBuf>,
    },
    /// After a merge: put the lines that somebody else added behind those that were added here, with new numbers.
    Rebase {
        #[command(flatten)]
        repository: Repository,
        /// A signer's key (PKCS #8 PEM), for lines that were signed.
        #[arg(long, value_name = "FILE")]
        sign_key: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct History {
    #[command(subcommand)]
    pub(crate) command: Option<HistoryCommand>,
    #[command(flatten)]
    pub(crate) query: Option<Query>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// Run one read-only statement.
    Query(Query),
}

#[derive(Args, Debug)]
pub(crate) struct Query {
    /// The statement: "SELECT time, actor, action FROM audit.events ORDER BY time DESC LIMIT 20".
    pub(crate) sql: String,
    /// Answer from one server, without a quorum.
    #[arg(long)]
    pub(crate) local: bool,
    /// At most so many rows.
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lock {
    /// Show the groups, their slots and how many are taken.
    Status,
    /// Show who holds slots, and since when.
    Who {
        /// Only this group.
        group: Option<String>,
    },
    /// Take a slot away from a holder.
    Release {
        group: String,
        id: String,
        /// Why; it is recorded.
        #[arg(long)]
        reason: String,
    },
    /// Grant no new slots of a group.
    Freeze {
        group: String,
        /// Why; holders-to-be see it.
        #[arg(long)]
        reason: String,
    },
    /// Grant slots again.
    Unfreeze {
        group: String,
        #[arg(long)]
        reason: String,
    },
}

/// The kinds that have certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SubjectKind {
    User,
    Service,
    Node,
    /// A key that signs artifacts.
    Signer,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Commands that talk to nobody take it, too, as they take --http.
    #[test]
    fn every_command_takes_the_way_through_the_data_plane() {
        for words in
            ["--as mira fleet", "rebase --as mira", "iam whoami --socks5 127.0.0.1:1081", "versions diff 1 2 --as mira"]
        {
            let parsed = Cli::try_parse_from(["florctl"].into_iter().chain(words.split(' '))).unwrap();
            assert!(parsed.connection.tunnel.is_asked_for(), "{words}");
        }
    }

    #[test]
    fn ids_may_begin_with_a_hyphen() {
        for words in [&["iam", "key", "retire", "-2S__syp2"][..], &["iam", "token", "revoke", "--jti", "-2S"]] {
            let parsed = Cli::try_parse_from([&["florctl"], words].concat());
            assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn history_takes_a_statement_with_or_without_the_verb() {
        for words in [&["florctl", "history", "SELECT 1"][..], &["florctl", "history", "query", "SELECT 1"]] {
            let Command::History(history) = Cli::try_parse_from(words).unwrap().command else { panic!("{words:?}") };
            let HistoryCommand::Query(query) = history.command.or(history.query.map(HistoryCommand::Query)).unwrap();
            assert_eq!(query.sql, "SELECT 1");
        }
    }
}
