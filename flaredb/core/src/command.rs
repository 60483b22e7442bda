//! What the log of flaredb's group holds, and what applying it answers. Both are frozen per version: a change is a new
//! version or an appended variant behind a feature level.

use holdfast_format::{Error, kind};
use serde::{Deserialize, Serialize};

use crate::{MigrationSet, Phase, Refusal, TableName, Value, catalog::Alteration};

const COMMAND_VERSION: u16 = 1;
const ANSWER_VERSION: u16 = 1;

/// One log entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Unix time in milliseconds, as the proposer saw it.
    pub time_ms: u64,
    pub author: Author,
    pub command: Command,
}

/// Who asked, in the words that audit rows show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    pub principal: String,
    pub authenticated_by: String,
    pub source: Option<String>,
    pub token_id: Option<String>,
    pub request_id: String,
}

/// Order is part of the stored format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    Migrate(Migrate),
    Ingest(Ingest),
}

/// Applies one migration: all its statements or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Migrate {
    pub set: MigrationSet,
    pub number: u32,
    pub name: String,
    pub checksum: [u8; 32],
    pub phase: Phase,
    pub statements: Vec<Alteration>,
}

/// Adds a batch of events exactly once: it takes effect only where the stream stands at `expected_cursor`, and moves
/// the stream to `next_cursor` in the same step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ingest {
    pub stream: String,
    /// None before the stream's first batch.
    pub expected_cursor: Option<String>,
    pub next_cursor: String,
    pub table: TableName,
    /// The columns that `rows` have; the others get their defaults.
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
}

/// The replicated answer to a [`Command`]. Order is part of the stored format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// `already`: the same migration was applied before and nothing changed.
    Migrated {
        number: u32,
        already: bool,
    },
    Ingested {
        rows: u64,
    },
    /// The stream stands elsewhere; nothing changed.
    CursorMismatch {
        stored: Option<String>,
    },
    Refused(Refusal),
}

impl Command {
    /// The replicated feature level from which the command may be proposed.
    pub fn min_level(&self) -> u32 {
        match self {
            Self::Migrate(_) | Self::Ingest(_) => 1,
        }
    }
}

impl Envelope {
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        holdfast_format::to_compact(kind::SQL_COMMAND, COMMAND_VERSION, self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        holdfast_format::from_compact(kind::SQL_COMMAND, COMMAND_VERSION, bytes)
    }
}

impl Answer {
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        holdfast_format::to_compact(kind::SQL_ANSWER, ANSWER_VERSION, self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        holdfast_format::from_compact(kind::SQL_ANSWER, ANSWER_VERSION, bytes)
    }
}
