//! Stored bytes of Raft: log entries, votes, log ids, memberships, snapshots. openraft's own types are never
//! serialised, so that a new openraft cannot change what is on disk. Each struct here is frozen with its version.

mod entry;
mod membership;
mod snapshot;
mod vote;

pub(crate) use entry::{EntryV1, decode_entry, encode_entry};
pub(crate) use membership::{MembershipV1, StoredMembershipV1, decode_membership, encode_membership};
pub(crate) use snapshot::{ChunkV1, EndV1, HeaderV1, PartV1, decode_part, encode_part};
pub(crate) use vote::{LogIdV1, VoteV1, decode_log_id, decode_vote, encode_log_id, encode_vote};

/// The version of every kind in this module.
const V1: u16 = 1;
