//! What servers ask each other about their data, over the peer port.

use chainfire_core::kv::Revision;
use holdfast_format::{Error, from_compact, kind, to_compact};
use serde::{Deserialize, Serialize};

const VERSION: u16 = 1;

/// Variants are appended, never reordered: servers of two releases talk to each other during an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// The rows of the revisions after `after`, up to and with `upto`.
    Rows { after: Revision, upto: Revision },
    /// HashKV at a revision.
    Store { at: Revision },
}

/// Variants are appended, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// `compacted` is the oldest revision that can be read, if there was a compaction.
    Sum { crc: u32, compacted: Option<Revision> },
    /// What was asked for is compacted, or not applied yet.
    Elsewhere,
}

impl Question {
    pub(crate) fn encode(self) -> Result<Vec<u8>, Error> {
        to_compact(kind::INTEGRITY_QUESTION, VERSION, &self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        from_compact(kind::INTEGRITY_QUESTION, VERSION, bytes)
    }
}

impl Answer {
    pub(crate) fn encode(self) -> Result<Vec<u8>, Error> {
        to_compact(kind::INTEGRITY_ANSWER, VERSION, &self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        from_compact(kind::INTEGRITY_ANSWER, VERSION, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_release_is_frozen() {
        let question = Question::Rows { after: Revision(2), upto: Revision(300) }.encode().unwrap();
        assert_eq!(question.get(14..), Some(&[0, 4, 216, 4][..]));
        let answer = Answer::Sum { crc: 300, compacted: Some(Revision(2)) }.encode().unwrap();
        assert_eq!(answer.get(14..), Some(&[0, 172, 2, 1, 4][..]));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Question::decode(b"garbage").is_err());
        assert!(Answer::decode(&[]).is_err());
    }
}
