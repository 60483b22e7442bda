use holdfast_keyspace::{Overlay, Table};

use crate::Position;

/// A deterministic state machine. Every server applies the same commands in the same order to the same state.
pub trait Machine: Send + Sync + 'static {
    /// What readers are told after a change is in the state (watch events, wake-ups).
    type Effect: Send + 'static;

    /// Tables of the state. Adding one is safe; removing one is not.
    fn tables(&self) -> &'static [Table];

    /// Applies one command. It must depend on nothing but `state`, `at` and `command`. A replicated refusal is an
    /// answer; `Err` stops the node, because it means that this server cannot know what the others did.
    fn apply(&self, state: &mut Overlay<'_>, at: Position, command: &[u8]) -> Result<Applied<Self::Effect>, Halt>;

    /// Called in log order after the changes of `at` are readable in the state. It must not block.
    fn publish(&self, at: Position, effects: Vec<Self::Effect>);

    /// A snapshot from the leader has replaced the whole state: drop whatever was derived from the old one.
    fn restored(&self);
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<E> {
    /// Replicated answer to the proposer.
    pub answer: Vec<u8>,
    pub effects: Vec<E>,
}

/// This server must not apply any further: a command it does not know, or a state that it cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Halt(pub String);

impl From<holdfast_keyspace::Error> for Halt {
    fn from(error: holdfast_keyspace::Error) -> Self {
        Self(error.to_string())
    }
}
