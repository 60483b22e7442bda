use chainfire_raft::{Applied, Halt, Machine, Position};
use flaredb_core::{apply, store};
use holdfast_keyspace::{Overlay, Table};

/// flaredb's state machine on its Raft group.
#[derive(Debug, Default)]
pub struct FlaredbMachine;

impl Machine for FlaredbMachine {
    /// Readers take a snapshot for each query, so nobody has to be told.
    type Effect = ();

    fn tables(&self) -> &'static [Table] {
        store::TABLES
    }

    fn apply(&self, state: &mut Overlay<'_>, at: Position, command: &[u8]) -> Result<Applied<()>, Halt> {
        let halt = |error: &dyn std::fmt::Display| Halt(format!("flaredb, log entry {}: {error}", at.index));
        let applied = apply::apply(state, at.index, command).map_err(|damage| halt(&damage))?;
        let answer = applied.answer.encode().map_err(|error| halt(&error))?;
        Ok(Applied { answer, effects: Vec::new() })
    }

    fn publish(&self, _: Position, _: Vec<()>) {}

    fn restored(&self) {}
}
