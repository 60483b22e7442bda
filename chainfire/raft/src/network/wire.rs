use bytes::Bytes;
use holdfast_format::{Error, from_compact, kind, to_compact};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Cluster,
    format::{EntryV1, LogIdV1, VoteV1},
};

const V1: u16 = 1;

/// A message of the peer port in its frame.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Bytes, Error> {
    to_compact(kind::PEER_MESSAGE, V1, message).map(Bytes::from)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    from_compact(kind::PEER_MESSAGE, V1, bytes)
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AppendV1 {
    pub(crate) vote: VoteV1,
    pub(crate) previous: Option<LogIdV1>,
    pub(crate) committed: Option<LogIdV1>,
    pub(crate) entries: Vec<EntryV1>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AppendAnswerV1 {
    Matching(Option<LogIdV1>),
    Conflict(LogIdV1),
    HigherVote(VoteV1),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteRequestV1 {
    pub(crate) vote: VoteV1,
    pub(crate) last: Option<LogIdV1>,
    pub(crate) transfer: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteAnswerV1 {
    pub(crate) vote: VoteV1,
    pub(crate) granted: bool,
    pub(crate) last: Option<LogIdV1>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TransferV1 {
    pub(crate) from: VoteV1,
    pub(crate) to: u64,
    pub(crate) last: Option<LogIdV1>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum TransferAnswerV1 {
    Done,
    VoteChanged { expected: VoteV1, actual: VoteV1 },
    LogNotFlushed { expected: Option<LogIdV1>, actual: Option<LogIdV1> },
}

/// First message of a snapshot stream; the frames of the snapshot follow, each in a message of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotV1 {
    pub(crate) vote: VoteV1,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotAnswerV1 {
    pub(crate) vote: VoteV1,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProposeV1 {
    pub(crate) command: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ProposeAnswerV1 {
    Committed { index: u64, term: u64, answer: Bytes },
    NoLeader(String),
    Unknown(String),
    TooLarge { size: u64, limit: u64 },
    Stopped,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadIndexV1 {}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ReadIndexAnswerV1 {
    Index(u64),
    NoLeader(String),
    Timeout,
    Stopped,
}

/// A question for the leader's desk; what it says is the service's business.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AskV1 {
    pub(crate) question: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AskAnswerV1 {
    Answer(Bytes),
    Refused(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProbeV1 {
    pub(crate) cluster: Cluster,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProbeAnswerV1 {
    pub(crate) id: u64,
    pub(crate) cluster: Cluster,
    /// Set once the server is part of a cluster.
    pub(crate) formed: Option<FormedV1>,
}

/// A server with a new disk asks for its slot's place; its Raft id is the sender's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RejoinV1 {
    /// The cluster that it has found, by its id and by its configuration.
    pub(crate) id: [u8; 16],
    pub(crate) cluster: Cluster,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RejoinAnswerV1 {
    /// It is a learner or a voter, and may run Raft.
    Admitted,
    NotLeader,
    /// Not now, and why.
    Wait(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FormedV1 {
    pub(crate) cluster: [u8; 16],
    /// Raft ids of the first voters. Who takes part now is in each group's log.
    pub(crate) members: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogId, Vote};

    #[test]
    fn the_first_release_is_frozen() {
        let vote = VoteV1::from(&Vote::new_committed(5, 1));
        let id = LogIdV1::from(&LogId::new_term_index(5, 8));
        let append = AppendV1 { vote, previous: Some(id), committed: None, entries: Vec::new() };
        let answer = AppendAnswerV1::Matching(Some(id));
        let formed = Some(FormedV1 { cluster: [9; 16], members: vec![1] });
        let probe = ProbeAnswerV1 { id: 1, cluster: Cluster::single("a", "a:2380"), formed };
        let rejoin = RejoinV1 { id: [9; 16], cluster: Cluster::single("a", "a:2380") };
        let wait = RejoinAnswerV1::Wait("busy".into());
        let fixtures = [encode(&append), encode(&answer), encode(&probe), encode(&rejoin), encode(&wait)];
        let fixtures = fixtures.map(|bytes| hex::encode(bytes.unwrap()));
        assert_eq!(
            fixtures,
            [
                "484602070001000000085154ca5a0501010105080000",
                "48460207000100000004c5291a8b00010508",
                "48460207000100000027a62957780108686f6c646661737401016106613a3233383001090909090909090909090909090909090101",
                "48460207000100000023198bd3fb0909090909090909090909090909090908686f6c646661737401016106613a32333830",
                "48460207000100000006b969eaa4020462757379"
            ]
        );
    }
}
