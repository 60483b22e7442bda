//! `holdfast restore`: fills the data folder of a new cluster's first member, offline.

use std::{fs, path::PathBuf, process::ExitCode};

use chainfire_backup::Passphrase;
use chainfire_raft::{GroupConfig, Machine as _};
use chainfire_server::restore::{self, BUMP, RestoreError, Restored, Target};
use clap::Args;
use flaredb_server::FlaredbMachine;

/// The server that is started with this folder has to be the first of `members` (or of `--initial-cluster`); all others
/// start with empty folders and get everything from it.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// A file that `florctl backup` made, or with --from-etcd a snapshot of an etcd.
    file: PathBuf,
    /// The file is an etcd's: what `etcdctl snapshot save` wrote, or the member/snap/db of an etcd that is off.
    #[arg(long, conflicts_with = "passphrase_file")]
    from_etcd: bool,
    /// The new data folder: empty, or not there.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// A file with the passphrase of an encrypted backup.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// By how much revisions grow, so that no client has seen them: more than was written since the backup.
    #[arg(long, value_name = "REVISIONS", default_value_t = BUMP)]
    bump_revision: u64,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    match restored(command) {
        Ok(restored) => {
            for note in &restored.notes {
                println!("note: {note}");
            }
            println!(
                "restored {} at revision {}; it goes on at {}",
                restored.groups.join(" and "),
                restored.revision,
                restored.bumped
            );
            println!("start the first of the members with {}", command.data_dir.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("holdfast restore: {error}");
            ExitCode::FAILURE
        }
    }
}

fn restored(command: &Command) -> Result<Restored, RestoreError> {
    let target = Target { data_dir: &command.data_dir, bump: command.bump_revision };
    if command.from_etcd {
        return restore::from_etcd(&command.file, target);
    }
    let passphrase = match &command.passphrase_file {
        None => None,
        Some(path) => {
            let text = fs::read(path).map_err(|error| RestoreError::File { path: path.clone(), error })?;
            Some(Passphrase::new(&text).map_err(chainfire_backup::Error::from)?)
        }
    };
    let history = (GroupConfig::flaredb(), FlaredbMachine.tables());
    restore::from_backup(&command.file, passphrase.as_ref(), target, &[history])
}
