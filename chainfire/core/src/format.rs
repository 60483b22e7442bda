//! The log's and the answers' bytes. A version is frozen once released; `tests` hold a fixture of each.

use holdfast_format::{Error, from_compact, kind, to_compact};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Answer, Envelope, Halt};

/// The newest version of each format that this release writes and reads.
pub const COMMAND_VERSION: u16 = 1;
pub const ANSWER_VERSION: u16 = 1;

/// The bytes of a log entry.
pub fn encode_command(envelope: &Envelope) -> Result<Vec<u8>, Error> {
    to_compact(kind::COMMAND, COMMAND_VERSION, envelope)
}

pub fn decode_command(bytes: &[u8]) -> Result<Envelope, Error> {
    from_compact(kind::COMMAND, COMMAND_VERSION, bytes)
}

pub fn encode_answer(answer: &Answer) -> Result<Vec<u8>, Error> {
    to_compact(kind::ANSWER, ANSWER_VERSION, answer)
}

pub fn decode_answer(bytes: &[u8]) -> Result<Answer, Error> {
    from_compact(kind::ANSWER, ANSWER_VERSION, bytes)
}

/// A record of the state, in version 1 of its kind.
pub(crate) fn encode_record<T: Serialize>(kind: kind::Kind, record: &T) -> Result<Vec<u8>, Halt> {
    to_compact(kind, 1, record).map_err(Halt::Record)
}

pub(crate) fn decode_record<T: DeserializeOwned>(kind: kind::Kind, bytes: &[u8]) -> Result<T, Halt> {
    from_compact(kind, 1, bytes).map_err(Halt::Record)
}
