//! A state in memory, changed by the commands that change a real one.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use flaredb_core::{Answer, Author, Command, Envelope, apply};
use holdfast_keyspace::Memory;

/// Applies `command` as log entry `index`.
pub(crate) fn run(state: &mut Memory, index: u64, command: Command) -> Answer {
    let author = Author {
        principal: "system/test".into(),
        authenticated_by: "system".into(),
        source: None,
        token_id: None,
        request_id: "r".into(),
    };
    let bytes = Envelope { time_ms: 0, author, command }.encode().unwrap();
    apply::apply(state, index, &bytes).unwrap().answer
}
