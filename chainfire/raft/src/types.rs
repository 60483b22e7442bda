use std::fmt;

use bytes::Bytes;
use openraft::{
    alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf},
    impls::leader_id_std,
};
use serde::{Deserialize, Serialize};

use crate::{Member, Position, runtime::Runtime};

openraft::declare_raft_types!(
    /// openraft's type parameters. At most one leader in a term, so that terms order writes and fence locks.
    pub(crate) TypeConfig:
        D = Command,
        R = Answer,
        NodeId = u64,
        Node = Peer,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = Runtime,
);

pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = SnapshotOf<TypeConfig, crate::state::SnapshotData>;

/// An opaque command: only the state machine knows what is inside.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command(pub(crate) Bytes);

/// The state machine's opaque answer.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer(pub(crate) Bytes);

/// Where a voter's peer listener answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: String,
}

impl From<&Member> for Peer {
    fn from(member: &Member) -> Self {
        Self { name: member.name.clone(), address: member.address.clone() }
    }
}

/// openraft's log id as this crate shows it.
pub(crate) fn position(id: &LogId) -> Position {
    Position { index: id.index, term: id.leader_id.term }
}

// Commands and answers may carry secrets: openraft's logs see their size only.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} bytes)", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} bytes)", self.0.len())
    }
}
