use std::{io, path::Path};

use configsrv_fleet::{
    ArtifactError, ArtifactErrorKind,
    bundle::BundleError,
    revocation::{RevocationError, RevocationErrorKind},
};
use serde::{Deserialize, Serialize};

use crate::machine::Refusal;

/// Why a command ends without success. Scripts tell the cases apart by the exit code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "message", rename_all = "snake_case")]
pub(crate) enum Error {
    #[error("{0}")]
    Unexpected(String),
    #[error("{0}")]
    Usage(String),
    /// Older than what is confirmed here, or the same number with other content.
    #[error("{0}")]
    Replay(String),
    /// Signature, trust, schema, addressee.
    #[error("{0}")]
    Untrusted(String),
    /// Worth another try.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    State(String),
    /// The servers have nothing for this node: it was never published, or not any more.
    #[error("{0}")]
    UnknownNode(String),
    #[error("{0}")]
    RolledBack(String),
    /// What enrolment or the agent itself wrote down cannot be used: to start again does not help.
    #[error("{0}")]
    Configuration(String),
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unexpected(_) => 1,
            Self::Usage(_) => 2,
            Self::Replay(_) => 5,
            Self::Untrusted(_) => 6,
            Self::Unreachable(_) => 7,
            Self::State(_) | Self::UnknownNode(_) => 8,
            Self::RolledBack(_) => 9,
            Self::Configuration(_) => 78,
        }
    }

    /// The case as one word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Unexpected(_) => "unexpected",
            Self::Usage(_) => "usage",
            Self::Replay(_) => "replay",
            Self::Untrusted(_) => "untrusted",
            Self::Unreachable(_) => "unreachable",
            Self::State(_) => "state",
            Self::UnknownNode(_) => "unknown_node",
            Self::RolledBack(_) => "rolled_back",
            Self::Configuration(_) => "configuration",
        }
    }

    /// A file operation that failed.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::Unexpected(format!("{}: {error}", path.display()))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Replay { .. } | Refusal::SameNumber(_) => Self::Replay(text),
            Refusal::AlreadyPending { .. }
            | Refusal::Rejected { .. }
            | Refusal::NothingPending
            | Refusal::OtherPending { .. }
            | Refusal::Expired(_)
            | Refusal::NotCarried(_) => Self::State(text),
        }
    }
}

impl From<ArtifactError> for Error {
    fn from(error: ArtifactError) -> Self {
        match error.kind() {
            ArtifactErrorKind::Malformed
            | ArtifactErrorKind::Schema
            | ArtifactErrorKind::Trust
            | ArtifactErrorKind::Addressee => Self::Untrusted(error.to_string()),
        }
    }
}

impl From<RevocationError> for Error {
    fn from(error: RevocationError) -> Self {
        match error.kind() {
            RevocationErrorKind::Order => Self::Replay(error.to_string()),
            RevocationErrorKind::Malformed
            | RevocationErrorKind::Schema
            | RevocationErrorKind::Trust
            | RevocationErrorKind::Addressee
            | RevocationErrorKind::Lockout => Self::Untrusted(error.to_string()),
        }
    }
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Malformed(_) => Self::Usage(error.to_string()),
            BundleError::Schema(_) | BundleError::Untrusted(_) => Self::Untrusted(error.to_string()),
        }
    }
}
