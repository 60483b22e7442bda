//! Applying one command. Everything happens on an overlay first, so a refused command leaves no trace.

mod ingest;
mod migrate;

use holdfast_keyspace::{Overlay, Write};

use crate::{Answer, Author, Command, Damage, Envelope, error::Failure};

/// What a command did, beside its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub answer: Answer,
    /// The catalog is not what it was.
    pub catalog_changed: bool,
}

/// Where, when and by whom a command was proposed.
struct At {
    index: u64,
    time_ms: u64,
    author: Author,
}

/// Applies the command at Raft log `index`. Deterministic: the same log gives the same state on every server.
pub fn apply(state: &mut dyn Write, index: u64, command: &[u8]) -> Result<Applied, Damage> {
    let envelope = Envelope::decode(command).map_err(Damage::format("a command"))?;
    let mut changes = Overlay::new(&*state);
    let Envelope { time_ms, author, command } = envelope;
    let result = match command {
        Command::Migrate(migrate) => migrate::apply(&mut changes, &At { index, time_ms, author }, &migrate),
        Command::Ingest(ingest) => ingest::apply(&mut changes, index, ingest),
    };
    let answer = match result {
        Ok(answer) => answer,
        Err(Failure::Damaged(damage)) => return Err(damage),
        Err(Failure::Refused(refusal)) => {
            return Ok(Applied { answer: Answer::Refused(refusal), catalog_changed: false });
        }
    };
    let changes: Vec<_> = changes.into_changes().collect();
    for change in changes {
        match change.value {
            Some(value) => state.put(change.table, change.key, value),
            None => state.delete(change.table, change.key),
        }
    }
    let catalog_changed = matches!(answer, Answer::Migrated { already: false, .. });
    Ok(Applied { answer, catalog_changed })
}
