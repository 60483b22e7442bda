use holdfast_format::{Error, from_compact, kind, to_compact};
use serde::{Deserialize, Serialize};

use super::V1;
use crate::types::{LogId, Vote};

/// A position in the log; with one leader a term, the term names the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdV1 {
    term: u64,
    index: u64,
}

/// A vote, or the leader that a quorum has voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteV1 {
    term: u64,
    node: u64,
    committed: bool,
}

pub(crate) fn encode_vote(vote: &Vote) -> Result<Vec<u8>, Error> {
    to_compact(kind::VOTE, V1, &VoteV1::from(vote))
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, Error> {
    from_compact::<VoteV1>(kind::VOTE, V1, bytes).map(Vote::from)
}

pub(crate) fn encode_log_id(id: &LogId) -> Result<Vec<u8>, Error> {
    to_compact(kind::LOG_ID, V1, &LogIdV1::from(id))
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<LogId, Error> {
    from_compact::<LogIdV1>(kind::LOG_ID, V1, bytes).map(LogId::from)
}

impl From<&LogId> for LogIdV1 {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogIdV1> for LogId {
    fn from(id: LogIdV1) -> Self {
        Self::new_term_index(id.term, id.index)
    }
}

impl From<&Vote> for VoteV1 {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<VoteV1> for Vote {
    fn from(vote: VoteV1) -> Self {
        if vote.committed { Self::new_committed(vote.term, vote.node) } else { Self::new(vote.term, vote.node) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_release_is_frozen() {
        let vote = Vote::new_committed(7, 0x0002_0000_0000_0001);
        let id = LogId::new_term_index(7, 300);
        let (stored_vote, stored_id) = (encode_vote(&vote).unwrap(), encode_log_id(&id).unwrap());
        assert_eq!(
            [&stored_vote, &stored_id].map(hex::encode),
            ["4846020200010000000a2a27735a07818080808080800101", "4846020300010000000330cb8e8a07ac02"]
        );
        assert_eq!(decode_vote(&stored_vote).unwrap(), vote);
        assert_eq!(decode_log_id(&stored_id).unwrap(), id);
    }

    #[test]
    fn a_newer_version_is_named_not_guessed() {
        let bytes = to_compact(kind::VOTE, V1 + 1, &1u8).unwrap();
        assert_eq!(decode_vote(&bytes), Err(Error::Newer { found: 2, supported: 1 }));
    }
}
