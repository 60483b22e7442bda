//! openraft's messages to wire messages and back.

use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::wire::{AppendAnswerV1, AppendV1, TransferAnswerV1, TransferV1, VoteAnswerV1, VoteRequestV1};
use crate::{
    format::{EntryV1, LogIdV1},
    types::{Entry, LogId, TypeConfig, Vote},
};

type FormatError = holdfast_format::Error;

impl From<&AppendEntriesRequest<TypeConfig>> for AppendV1 {
    fn from(request: &AppendEntriesRequest<TypeConfig>) -> Self {
        Self {
            vote: (&request.vote).into(),
            previous: stored(request.prev_log_id),
            committed: stored(request.leader_commit),
            entries: request.entries.iter().map(EntryV1::from).collect(),
        }
    }
}

impl TryFrom<AppendV1> for AppendEntriesRequest<TypeConfig> {
    type Error = FormatError;

    /// openraft relies on consecutive entries, so a peer that sends others is refused here.
    fn try_from(wire: AppendV1) -> Result<Self, FormatError> {
        let entries: Result<Vec<Entry>, FormatError> = wire.entries.into_iter().map(EntryV1::into_entry).collect();
        let entries = entries?;
        let previous = wire.previous.map(LogId::from);
        let mut expected = previous.map_or(Some(0), |previous| previous.index.checked_add(1));
        for entry in &entries {
            if Some(entry.log_id.index) != expected {
                return Err(FormatError::Payload(format!("entry {} is out of order", entry.log_id.index)));
            }
            expected = entry.log_id.index.checked_add(1);
        }
        Ok(Self {
            vote: wire.vote.into(),
            prev_log_id: previous,
            leader_commit: wire.committed.map(LogId::from),
            entries,
        })
    }
}

impl From<StreamAppendResult<TypeConfig>> for AppendAnswerV1 {
    fn from(result: StreamAppendResult<TypeConfig>) -> Self {
        match result {
            Ok(matching) => Self::Matching(stored(matching)),
            Err(StreamAppendError::Conflict(at)) => Self::Conflict((&at).into()),
            Err(StreamAppendError::HigherVote(vote)) => Self::HigherVote((&vote).into()),
        }
    }
}

impl From<AppendAnswerV1> for StreamAppendResult<TypeConfig> {
    fn from(answer: AppendAnswerV1) -> Self {
        match answer {
            AppendAnswerV1::Matching(matching) => Ok(matching.map(LogId::from)),
            AppendAnswerV1::Conflict(at) => Err(StreamAppendError::Conflict(at.into())),
            AppendAnswerV1::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote.into())),
        }
    }
}

impl From<&VoteRequest<TypeConfig>> for VoteRequestV1 {
    fn from(request: &VoteRequest<TypeConfig>) -> Self {
        Self { vote: (&request.vote).into(), last: stored(request.last_log_id), transfer: request.leadership_transfer }
    }
}

impl From<VoteRequestV1> for VoteRequest<TypeConfig> {
    fn from(wire: VoteRequestV1) -> Self {
        let mut request = Self::new(wire.vote.into(), wire.last.map(LogId::from));
        request.leadership_transfer = wire.transfer;
        request
    }
}

impl From<&VoteResponse<TypeConfig>> for VoteAnswerV1 {
    fn from(response: &VoteResponse<TypeConfig>) -> Self {
        Self { vote: (&response.vote).into(), granted: response.vote_granted, last: stored(response.last_log_id) }
    }
}

impl From<VoteAnswerV1> for VoteResponse<TypeConfig> {
    fn from(wire: VoteAnswerV1) -> Self {
        Self::new(Vote::from(wire.vote), wire.last.map(LogId::from), wire.granted)
    }
}

impl From<&TransferLeaderRequest<TypeConfig>> for TransferV1 {
    fn from(request: &TransferLeaderRequest<TypeConfig>) -> Self {
        Self {
            from: request.from_leader().into(),
            to: *request.to_node_id(),
            last: stored(request.last_log_id().copied()),
        }
    }
}

impl From<TransferV1> for TransferLeaderRequest<TypeConfig> {
    fn from(wire: TransferV1) -> Self {
        Self::new(wire.from.into(), wire.to, wire.last.map(LogId::from))
    }
}

impl From<TransferLeaderResponse<TypeConfig>> for TransferAnswerV1 {
    fn from(response: TransferLeaderResponse<TypeConfig>) -> Self {
        match response {
            Ok(()) => Self::Done,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Self::VoteChanged { expected: (&expected).into(), actual: (&actual).into() }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Self::LogNotFlushed { expected: stored(expected), actual: stored(actual) }
            }
        }
    }
}

impl From<TransferAnswerV1> for TransferLeaderResponse<TypeConfig> {
    fn from(answer: TransferAnswerV1) -> Self {
        match answer {
            TransferAnswerV1::Done => Ok(()),
            TransferAnswerV1::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            TransferAnswerV1::LogNotFlushed { expected, actual } => Err(TransferLeaderError::LogNotFlushed {
                expected: expected.map(LogId::from),
                actual: actual.map(LogId::from),
            }),
        }
    }
}

fn stored(id: Option<LogId>) -> Option<LogIdV1> {
    id.as_ref().map(LogIdV1::from)
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;

    #[test]
    fn entries_out_of_order_are_refused() {
        let entry = |index| Entry { log_id: LogId::new_term_index(1, index), payload: EntryPayload::Blank };
        let request = |previous, indexes: &[u64]| AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(LogId::new_term_index(1, previous)),
            entries: indexes.iter().map(|index| entry(*index)).collect(),
            leader_commit: None,
        };
        let received = |request| AppendEntriesRequest::try_from(AppendV1::from(&request));
        assert!(received(request(4, &[5, 6])).is_ok());
        assert!(received(request(4, &[6])).is_err());
        assert!(received(request(4, &[5, 7])).is_err());
        assert!(received(request(u64::MAX, &[0])).is_err());
    }
}
