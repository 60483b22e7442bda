use std::path::PathBuf;

use clap::{Args, Subcommand};
use configsrv_fleet::{NodeName, Span};

use super::{BreakGlass, GrantKeys, Group, Principal, Recovery, Revocations, Scope, Trust};

/// `florctl iam`.
#[derive(Debug, Subcommand)]
pub(crate) enum Iam {
    /// Who the token says that you are.
    Whoami,
    /// Whether the doors are open, and if not, why.
    Status,
    #[command(subcommand)]
    Principal(Principal),
    /// Give a role to a principal or a group: for everything, or for the principals of an organisation or a project.
    Grant {
        /// user/mira, service/ci, node/pier2 or group/ops.
        subject: String,
        /// admin, operator, auditor, node, reader or lock-client.
        role: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// Give rights on keys of the store to a principal or a group, or take them from it.
    GrantKeys(GrantKeys),
    /// Take back what `grant` or `grant-keys` gave.
    RevokeGrant {
        /// user/mira, service/ci, node/pier2 or group/ops.
        subject: String,
        /// As `grants` lists it; a role's is the role, with its organisation and project: admin, admin@acme, admin@acme+web.
        name: String,
        /// Only if the grant is at this revision.
        #[arg(long, default_value_t = 0)]
        expected_revision: u64,
    },
    /// List who holds which role, and which rights on keys.
    Grants {
        /// Only of this principal or group.
        subject: Option<String>,
    },
    #[command(subcommand)]
    Group(Group),
    /// Rules beside the roles, in Cedar's syntax.
    #[command(subcommand)]
    Policy(Policy),
    /// Whether somebody may do something, and why.
    Explain(Explain),
    #[command(subcommand)]
    Token(Token),
    #[command(subcommand)]
    Credential(Credential),
    /// The keys that sign tokens.
    #[command(subcommand)]
    Key(Key),
    /// Replace the key that signs, the authority that issues certificates or the key that seals secrets, stage by stage;
    /// the servers do it, each stage as soon as it is safe.
    Rotate(Rotate),
    /// Who verifies, and how far each is with what is to be enforced.
    Verifiers,
    /// Whose certificates count.
    #[command(subcommand)]
    Trust(Trust),
    /// What came back with a backup, until it is approved.
    #[command(subcommand)]
    Restore(Recovery),
    /// What has ended, for the restore of an older backup.
    #[command(subcommand)]
    Revocations(Revocations),
    /// Tokens by which nodes enrol.
    #[command(subcommand)]
    JoinToken(JoinToken),
    /// The token that the servers were set up with.
    #[command(subcommand)]
    Bootstrap(Bootstrap),
    #[command(subcommand)]
    BreakGlass(BreakGlass),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Create or replace a policy; it is in force at once, or refused with line and column.
    Put {
        id: String,
        /// The policy's text; - for standard input.
        file: PathBuf,
        /// What it is for.
        #[arg(long, default_value = "")]
        note: String,
        /// Only if the policy is at this revision.
        #[arg(long, default_value_t = 0)]
        expected_revision: u64,
        /// Only check it.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a policy out of force.
    Delete {
        id: String,
        /// Only if the policy is at this revision.
        #[arg(long, default_value_t = 0)]
        expected_revision: u64,
    },
    /// Show what would have been decided otherwise, of the decisions that one server remembers.
    Simulate {
        id: String,
        /// The policy's text; - for standard input.
        #[arg(required_unless_present = "delete", conflicts_with = "delete")]
        file: Option<PathBuf>,
        /// As if the policy were deleted.
        #[arg(long)]
        delete: bool,
    },
    /// Print a policy's text.
    Show { id: String },
    /// List all.
    List,
    /// Print what policies may speak of, and the built-in ones.
    Schema,
}

/// A question about somebody's rights.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// Such as config.Publish.
    pub(crate) action: String,
    /// Such as versions/* or node/pier2.
    pub(crate) resource: String,
    /// user/mira, service/ci or node/pier2 [default: yourself].
    #[arg(long, default_value = "")]
    pub(crate) principal: String,
    /// As if the call came from this address.
    #[arg(long, default_value = "")]
    pub(crate) source: String,
    /// As if it were this time, in Unix milliseconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) at: u64,
}

/// Bearer tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Issue a token for yourself, or for another principal if you may.
    Issue {
        /// user/mira, service/ci [default: yourself].
        #[arg(default_value = "")]
        principal: String,
        /// How long it lasts [default: as the servers are set].
        #[arg(long, default_value = "0")]
        ttl: Span,
        /// Write the token to this file, readable by you alone, instead of showing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make one token useless, or all of a principal or of a signing key until now, and say where that counts.
    Revoke {
        #[command(flatten)]
        what: Revoked,
        /// So long to wait for all servers to enforce it, at most 30s.
        #[arg(long, default_value = "5s")]
        wait: Span,
    },
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Revoked {
    /// The token's id.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) jti: Option<String>,
    /// Whose tokens.
    #[arg(long)]
    pub(crate) principal: Option<String>,
    /// The key that signed them.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) kid: Option<String>,
}

/// Access keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Credential {
    /// Make an access key and its secret.
    Create {
        /// [default: yourself]
        #[arg(default_value = "")]
        principal: String,
        #[arg(long, default_value = "")]
        note: String,
        /// The same word makes the same access key only once within a day, however often the command is repeated.
        #[arg(long, value_name = "WORD")]
        idempotency_key: Option<String>,
        /// Write the secret to this file, readable by you alone, instead of showing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List access keys, without their secrets.
    List {
        #[arg(default_value = "")]
        principal: String,
    },
    /// Show the secret of an access key again, which is recorded: its own principal and admins may.
    Secret {
        access_key_id: String,
        /// Write the secret to this file, readable by you alone, instead of showing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make an access key useless.
    Revoke {
        access_key_id: String,
        /// Also the last one of its principal.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// List the keys and when their next step is possible.
    List,
    /// Add a key; it is published before it signs.
    Add {
        /// EdDSA or ES256.
        #[arg(long, default_value = "EdDSA")]
        algorithm: String,
        #[arg(long)]
        dry_run: bool,
    },
    /// Sign with this key from now on.
    Activate {
        #[command(flatten)]
        key: KeyStep,
        /// Without waiting for the caches of verifiers that do not acknowledge.
        #[arg(long)]
        now: bool,
    },
    /// Stop accepting what this key signed.
    Retire {
        #[command(flatten)]
        key: KeyStep,
        /// Revoke what it signed instead of waiting for its end.
        #[arg(long)]
        revoke_population: bool,
    },
    /// Forget a retired key.
    Purge(KeyStep),
    /// Stop accepting what this key signed, at once and for good: somebody else may have it.
    Compromise(KeyStep),
}

#[derive(Args, Debug)]
pub(crate) struct KeyStep {
    // It is base64url, which may begin with a hyphen.
    #[arg(allow_hyphen_values = true)]
    pub(crate) kid: String,
    /// Say what would happen, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait for nothing. What that breaks is said; with --dry-run before it is done.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Rotate {
    /// What is rotated: signing-key, authority or master-key.
    #[arg(long, default_value = "signing-key", global = true)]
    pub(crate) family: String,
    /// Say what would happen when, who lags behind and how to undo each stage, and change nothing.
    #[arg(long, conflicts_with = "until")]
    pub(crate) plan: bool,
    /// Pause after this stage: add, activate, retire or purge.
    #[arg(long, value_name = "STAGE")]
    pub(crate) until: Option<String>,
    #[command(subcommand)]
    pub(crate) order: Option<RotateOrder>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RotateOrder {
    /// Where the rotation is, what it waits for and what is left.
    Status,
    /// Take no further step until it is resumed.
    Pause,
    /// Go on.
    Resume {
        /// Pause after this stage: activate, retire or purge.
        #[arg(long, value_name = "STAGE")]
        until: Option<String>,
    },
    /// Turn round: the old one becomes active again, the new one is retired once what was made with it has ended.
    Abort,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JoinToken {
    /// Make a token by which one node enrols once.
    Create {
        node: NodeName,
        /// At most an hour.
        #[arg(long, default_value = "1h")]
        ttl: Span,
        /// Write the token to this file, readable by you alone, instead of showing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bootstrap {
    /// Let it in no longer, for good, whatever the servers' environment says. It takes an admin of your own,
    /// and one with an access key.
    Disable {
        /// Why, for the history.
        #[arg(long)]
        reason: String,
    },
}
