use clap::{Args, Subcommand, ValueEnum};

/// An organisation, or a project of one.
#[derive(Args, Debug, Default)]
pub(crate) struct Scope {
    /// Within this organisation.
    #[arg(long, default_value = "")]
    pub(crate) org: String,
    /// Within this project of it.
    #[arg(long, requires = "org", default_value = "")]
    pub(crate) project: String,
}

/// Who may be somebody.
#[derive(Debug, Subcommand)]
pub(crate) enum Principal {
    /// Add a principal where you are yourself, or where an admin of the whole system says; it stays there.
    Create {
        /// user/mira, service/ci or node/pier2.
        id: String,
        /// A name for people.
        #[arg(long, default_value = "")]
        display_name: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// List all, or those of your organisation or project.
    List {
        /// user, service or node.
        #[arg(long, default_value = "")]
        kind: String,
    },
    /// Let it in no longer.
    Disable {
        id: String,
        /// Only if the principal is at this revision.
        #[arg(long, default_value_t = 0)]
        expected_revision: u64,
    },
    /// Let it in again.
    Enable {
        id: String,
        /// Only if the principal is at this revision.
        #[arg(long, default_value_t = 0)]
        expected_revision: u64,
    },
}

/// Who is in which group. Members of a group hold what it holds.
#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// Put somebody into a group. A group is there when it has a member or a grant.
    Add {
        group: String,
        /// user/mira, service/ci, node/pier2 or group/ops.
        member: String,
    },
    /// Take somebody out of a group.
    Remove { group: String, member: String },
    /// List who is in which group.
    List {
        /// Only this group.
        #[arg(default_value = "")]
        group: String,
        /// Only the groups that this one is in.
        #[arg(long, default_value = "")]
        member: String,
    },
}

/// Rights on keys.
#[derive(Args, Debug)]
pub(crate) struct GrantKeys {
    /// user/mira, service/ci, node/pier2 or group/ops.
    pub(crate) subject: String,
    pub(crate) rights: KeyAccess,
    /// The key, or where a range of them begins.
    pub(crate) key: String,
    /// The end of the range, which is not in it.
    #[arg(conflicts_with_all = ["prefix", "from_key"])]
    pub(crate) range_end: Option<String>,
    /// Every key that begins with KEY.
    #[arg(long, conflicts_with = "from_key")]
    pub(crate) prefix: bool,
    /// KEY and every key after it.
    #[arg(long)]
    pub(crate) from_key: bool,
    /// Take these rights away, whatever else gives them.
    #[arg(long)]
    pub(crate) forbid: bool,
    /// What `revoke-grant` will call it; a grant of this name is replaced [default: after the rights and the keys].
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum KeyAccess {
    Read,
    Write,
    ReadWrite,
}
