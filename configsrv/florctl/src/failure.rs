use std::{fmt, path::Path, process::ExitCode};

use configsrv_fleet::{
    ArtifactError, ArtifactErrorKind,
    bundle::BundleError,
    ca::AuthorityError,
    compile::{CompileError, TreeError},
    enrollment::RebaseError,
    provision::ProvisionError,
    repo::SourceError,
    revocation::{RevocationError, RevocationErrorKind},
};
use iam_ca::KeyFileError;
use serde_json::{Value, json};

/// What a program that called this one can decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done, or nothing to do.
    Done = 0,
    Unexpected = 1,
    Usage = 2,
    /// The repository has errors.
    Findings = 3,
    /// There are differences, and `--exit-code` was given.
    Differs = 4,
    /// The servers have another version than expected.
    Conflict = 5,
    /// A signature, a key, a certificate or a schema is not accepted.
    NotTrusted = 6,
    /// Nobody answers; worth trying again.
    Unreachable = 7,
    /// Not in this state.
    State = 8,
}

/// What to do when somebody else published first.
pub(crate) const REBASE: &str = "take the change behind it first (git pull; conflicts in .flor/compiled do no harm), then \
     `florctl rebase --sign-key FILE` compiles on top of it";

/// What to do when the servers have revocations that the repository lacks.
pub(crate) const REVOKED_ELSEWHERE: &str = "take them out of the YAML and compile again; `git pull` brings \
     .flor/revocations.json, by which validate sees it, too";

/// Why a command did not do what it was asked to, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    hint: Option<String>,
    /// The servers' own word for it, if it was they who refused.
    refusal: Option<String>,
    changes: Option<Box<Changes>>,
}

/// What somebody else changed, so that it was refused.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Lines for people.
    pub(crate) text: String,
    pub(crate) value: Value,
}

impl Code {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unexpected => "failed",
            Self::Usage => "usage",
            Self::Findings => "invalid_repository",
            Self::Differs => "differs",
            Self::Conflict => "version_conflict",
            Self::NotTrusted => "not_trusted",
            Self::Unreachable => "unreachable",
            Self::State => "wrong_state",
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, refusal: None, changes: None }
    }

    pub(crate) fn unexpected(message: impl fmt::Display) -> Self {
        Self::new(Code::Unexpected, message.to_string())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// A file that could not be read or written.
    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::new(Code::Unexpected, format!("{}: {error}", path.display()))
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn refusal(mut self, word: impl Into<String>) -> Self {
        self.refusal = Some(word.into());
        self
    }

    #[must_use]
    pub(crate) fn changes(mut self, changes: Changes) -> Self {
        self.changes = Some(Box::new(changes));
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn to_json(&self) -> String {
        let changes = self.changes.as_ref().map(|changes| &changes.value);
        json!({
            "error": self.code.word(),
            "message": self.message,
            "hint": self.hint,
            "refusal": self.refusal,
            "changes": changes,
        })
        .to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(out, "\n  {hint}")?;
        }
        match &self.changes {
            Some(changes) => write!(out, "\n{}", changes.text.trim_end()),
            None => Ok(()),
        }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::unexpected(error).hint("--repo names the fleet repository; it is the current folder by default")
    }
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Self {
        Self::new(artifact_code(&error), error.to_string())
    }
}

/// Bytes that are not what they say of themselves count as little as those that nobody signed.
fn artifact_code(error: &ArtifactError) -> Code {
    match (error, error.kind()) {
        (ArtifactError::Digest { .. }, _) | (_, ArtifactErrorKind::Schema | ArtifactErrorKind::Trust) => {
            Code::NotTrusted
        }
        (_, ArtifactErrorKind::Malformed | ArtifactErrorKind::Addressee) => Code::Unexpected,
    }
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        let code = match &error {
            TreeError::Artifact { source, .. } => artifact_code(source),
            TreeError::Mismatch { .. } | TreeError::Mixed { .. } => Code::NotTrusted,
            TreeError::Io { .. } | TreeError::Broken { .. } | TreeError::Empty | TreeError::Twice { .. } => {
                Code::Unexpected
            }
        };
        Self::new(code, error.to_string()).hint(
            "`florctl rebase --sign-key FILE` makes the tree anew, on top of what the servers have; if it was committed \
             as it should be, Git has it, too",
        )
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Artifact(error) => error.into(),
            CompileError::Tree(error) => error.into(),
            error @ (CompileError::Node { .. }
            | CompileError::NoAddress { .. }
            | CompileError::TooManyNodes(_)
            | CompileError::VersionsExhausted(_)) => Self::unexpected(error),
        }
    }
}

impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        Self::unexpected(error)
    }
}

impl From<iam_ca::AuthorityError> for Failure {
    fn from(error: iam_ca::AuthorityError) -> Self {
        Self::unexpected(error)
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        match error {
            KeyFileError::Encrypted | KeyFileError::NotEncrypted | KeyFileError::WrongPassword => {
                Self::usage(error.to_string()).hint("--password-file names the file with the key's password")
            }
            KeyFileError::Malformed | KeyFileError::Passphrase(_) | KeyFileError::Key(_) => Self::unexpected(error),
        }
    }
}

impl From<ProvisionError> for Failure {
    fn from(error: ProvisionError) -> Self {
        Self::unexpected(error)
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        let code = match &error {
            BundleError::Malformed(_) => Code::Unexpected,
            BundleError::Schema(_) | BundleError::Untrusted(_) => Code::NotTrusted,
        };
        Self::new(code, error.to_string())
    }
}

impl From<RevocationError> for Failure {
    fn from(error: RevocationError) -> Self {
        let code = match error.kind() {
            RevocationErrorKind::Malformed | RevocationErrorKind::Addressee => Code::Unexpected,
            RevocationErrorKind::Schema | RevocationErrorKind::Trust => Code::NotTrusted,
            RevocationErrorKind::Lockout => Code::Findings,
            RevocationErrorKind::Order => Code::Conflict,
        };
        Self::new(code, error.to_string())
    }
}

impl From<RebaseError> for Failure {
    fn from(error: RebaseError) -> Self {
        match error {
            RebaseError::NotAnEvent { .. } => Self::new(Code::Findings, error.to_string()),
            RebaseError::Orphan { .. } | RebaseError::Untrusted { .. } => {
                Self::new(Code::NotTrusted, error.to_string()).hint("git log enrollment.log shows what each side had")
            }
            RebaseError::NoKey { .. } => {
                Self::usage(error.to_string()).hint("--sign-key names the key of a signer in cluster.yaml")
            }
            RebaseError::Unwritable(_) => Self::unexpected(error),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::unexpected(error)
    }
}
