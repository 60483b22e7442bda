use chainfire_core::{Failure, Halt, UserError, kv};
use holdfast_keyspace::Read;

use super::wire::{Answer, Question};

/// The checksum that `question` asks for, over a consistent view. It reads as much as it sums up, so not where
/// something else waits.
pub(crate) fn answer(read: &dyn Read, question: Question) -> Result<Answer, Halt> {
    let sum = match question {
        Question::Rows { after, upto } => kv::hash_between(read, after, upto),
        Question::Store { at } => kv::hash(read, Some(at)).map(|known| known.hash),
    };
    match sum {
        Ok(crc) => Ok(Answer::Sum { crc, compacted: kv::compacted_revision(read)? }),
        Err(Failure::Refused(UserError::Compacted | UserError::FutureRevision)) => Ok(Answer::Elsewhere),
        Err(Failure::Refused(other)) => Err(Halt::Damaged(other.to_string())),
        Err(Failure::Halt(halt)) => Err(halt),
    }
}
