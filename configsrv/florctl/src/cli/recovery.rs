use std::path::PathBuf;

use clap::Subcommand;

/// `florctl iam restore`.
#[derive(Debug, Subcommand)]
pub(crate) enum Recovery {
    /// Say whether a restore waits for approval.
    Status,
    /// Let identities go on that came back with a backup. Join tokens end.
    #[command(group = clap::ArgGroup::new("ended").required(true))]
    Approve {
        /// What `iam revocations export` wrote: first end what had ended then.
        #[arg(long, value_name = "FILE", group = "ended")]
        revocations: Option<PathBuf>,
        /// Everything that was ended since the backup counts again, until it is ended by hand.
        #[arg(long, group = "ended")]
        without_revocations: bool,
        /// Leave the bootstrap token enabled though the list says that it was not, since no admin has an access key here.
        #[arg(long, requires = "revocations")]
        keep_bootstrap_token: bool,
    },
    /// End what had ended when the list was written, also after the approval.
    Merge {
        /// What `iam revocations export` wrote.
        revocations: PathBuf,
    },
}

/// `florctl iam revocations`.
#[derive(Debug, Subcommand)]
pub(crate) enum Revocations {
    /// Write who is out and which access keys are live. Kept beside backups, it says what a restore must not undo.
    Export {
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}
