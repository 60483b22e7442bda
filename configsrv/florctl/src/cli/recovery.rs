use std::path::PathBuf;

use clap::Subcommand;

/// `florctl iam restore`.
#[derive(Debug, Subcommand)]
pub(crate) enum Recovery {
    /// Say whether a restore waits for approval.
    Status,
    /// Let identities go on that came back with a backup. Join tokens end.
    Approve {
        /// What `iam revocations export` wrote: first end what had ended then.
        #[arg(long, value_name = "FILE")]
        revocations: Option<PathBuf>,
        /// Leave the bootstrap token enabled though the list says that it was not, since no admin has an access key here.
        #[arg(long, requires = "revocations")]
        keep_bootstrap_token: bool,
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
