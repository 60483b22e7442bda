//! What servers ask the leader about leases. It goes around the log, over the peer port.

use std::time::Duration;

use chainfire_core::lease::LeaseId;
use holdfast_format::{Error, from_compact, kind, to_compact};
use serde::{Deserialize, Serialize};

const VERSION: u16 = 1;

/// Variants are appended, never reordered: servers of two releases talk to each other during an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    Renew(LeaseId),
    Remaining(LeaseId),
}

/// Variants are appended, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Renewed {
        ttl: Duration,
    },
    Remaining {
        left: Duration,
    },
    /// There is no such lease.
    Unknown,
    /// Ask again, perhaps somebody else: the one asked does not lead, or cannot prove it.
    Elsewhere,
    /// Ask again: the one asked leads, but has not applied what it must know to answer.
    Behind,
}

impl Question {
    pub(crate) fn encode(self) -> Result<Vec<u8>, Error> {
        to_compact(kind::LEASE_QUESTION, VERSION, &self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        from_compact(kind::LEASE_QUESTION, VERSION, bytes)
    }
}

impl Answer {
    pub(crate) fn encode(self) -> Result<Vec<u8>, Error> {
        to_compact(kind::LEASE_ANSWER, VERSION, &self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        from_compact(kind::LEASE_ANSWER, VERSION, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_release_is_frozen() {
        let question = Question::Renew(LeaseId(7)).encode().unwrap();
        assert_eq!(question.get(14..), Some(&[0, 14][..]));
        let answer = Answer::Renewed { ttl: Duration::from_secs(60) }.encode().unwrap();
        assert_eq!(answer.get(14..), Some(&[0, 60, 0][..]));
        assert_eq!(Answer::Behind.encode().unwrap().get(14..), Some(&[4][..]));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Question::decode(b"garbage").is_err());
        assert!(Answer::decode(&[]).is_err());
    }
}
