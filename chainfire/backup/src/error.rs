use std::io;

/// Why a backup was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Bytes of other files, and of backups that were cut or changed before the first part.
    #[error("this is not a backup: {0}")]
    NotBackup(String),
    #[error("the backup is damaged at part {part}: {problem}")]
    Damaged { part: u64, problem: String },
    #[error("the backup is cut off after part {0}")]
    Truncated(u64),
    #[error("the backup is encrypted: it needs its passphrase")]
    Encrypted,
    #[error("the backup is not encrypted: a passphrase would prove nothing")]
    NotEncrypted,
    #[error("the passphrase is wrong, or the first part is damaged")]
    WrongPassphrase,
    #[error(transparent)]
    Passphrase(#[from] holdfast_passphrase::Error),
    #[error(transparent)]
    Format(#[from] holdfast_format::Error),
}
