use serde::{Deserialize, Serialize};

use crate::SqlState;

/// Why a statement or command has no effect. It is a replicated answer, so it says the same on every server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub state: SqlState,
    pub message: String,
    /// What to do instead.
    pub hint: Option<String>,
}

impl Refusal {
    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        Self { state, message: message.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Stored or replicated bytes that this release cannot work with. It is never an answer and never ignored: whoever
/// meets it while applying stops the server, whoever meets it while reading fails the query.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error(transparent)]
    Storage(#[from] holdfast_keyspace::Error),
    #[error("{what}: {cause}")]
    Format { what: &'static str, cause: holdfast_format::Error },
    #[error("{what}: {cause}")]
    Content { what: &'static str, cause: String },
}

impl Damage {
    pub(crate) fn format(what: &'static str) -> impl Fn(holdfast_format::Error) -> Self {
        move |cause| Self::Format { what, cause }
    }

    pub(crate) fn content(what: &'static str, cause: impl Into<String>) -> Self {
        Self::Content { what, cause: cause.into() }
    }
}

/// What ends a command early.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    Damaged(Damage),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<holdfast_keyspace::Error> for Failure {
    fn from(error: holdfast_keyspace::Error) -> Self {
        Self::Damaged(error.into())
    }
}
