//! Backups of the store and the health of its servers.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The new file. It holds every key, identity and secret: keep it where you would keep those.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Encrypt it with the passphrase in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Take what the asked server has, also without a quorum.
    #[arg(long)]
    pub(crate) local: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// A file that `florctl backup` made, or with --from-etcd a snapshot of an etcd.
    pub(crate) file: PathBuf,
    /// Only check the file and say what is in it.
    #[arg(long, conflicts_with_all = ["data_dir", "from_etcd"])]
    pub(crate) check: bool,
    /// The new data folder of the first of the members, on this machine: empty, or not there.
    #[arg(long, value_name = "DIR", required_unless_present = "check")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The file is an etcd's: what `etcdctl snapshot save` wrote, or the member/snap/db of an etcd that is off.
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) from_etcd: bool,
    /// A file with the passphrase of an encrypted backup.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// By how much revisions grow, so that no client has seen them [default: 1000000000].
    #[arg(long, value_name = "REVISIONS", conflicts_with = "check")]
    pub(crate) bump_revision: Option<u64>,
    /// The server's program [default: beside this one, else on the path].
    #[arg(long, value_name = "FILE")]
    pub(crate) holdfast: Option<PathBuf>,
}
