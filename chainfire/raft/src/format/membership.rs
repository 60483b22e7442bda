use std::collections::{BTreeMap, BTreeSet};

use holdfast_format::{Error, from_compact, kind, to_compact};
use serde::{Deserialize, Serialize};

use super::{LogIdV1, V1};
use crate::types::{LogId, Membership, Peer, StoredMembership};

/// Voters (two sets while they change) and where everybody is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipV1 {
    configs: Vec<Vec<u64>>,
    nodes: Vec<NodeV1>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NodeV1 {
    id: u64,
    name: String,
    address: String,
}

/// A membership with the entry that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembershipV1 {
    at: Option<LogIdV1>,
    membership: MembershipV1,
}

pub(crate) fn encode_membership(membership: &StoredMembership) -> Result<Vec<u8>, Error> {
    to_compact(kind::MEMBERSHIP, V1, &StoredMembershipV1::from(membership))
}

pub(crate) fn decode_membership(bytes: &[u8]) -> Result<StoredMembership, Error> {
    from_compact::<StoredMembershipV1>(kind::MEMBERSHIP, V1, bytes)?.try_into()
}

impl From<&Membership> for MembershipV1 {
    fn from(membership: &Membership) -> Self {
        let configs = membership.get_joint_config().iter().map(|voters| voters.iter().copied().collect()).collect();
        let node =
            |(id, peer): (&u64, &Peer)| NodeV1 { id: *id, name: peer.name.clone(), address: peer.address.clone() };
        Self { configs, nodes: membership.nodes().map(node).collect() }
    }
}

impl TryFrom<MembershipV1> for Membership {
    type Error = Error;

    fn try_from(stored: MembershipV1) -> Result<Self, Error> {
        let configs: Vec<BTreeSet<u64>> = stored.configs.into_iter().map(BTreeSet::from_iter).collect();
        let peer = |node: NodeV1| (node.id, Peer { name: node.name, address: node.address });
        let nodes: BTreeMap<u64, Peer> = stored.nodes.into_iter().map(peer).collect();
        // openraft refuses a membership without voters, but keeps one for a log that is still empty.
        if configs.is_empty() && nodes.is_empty() {
            return Ok(Self::default());
        }
        Self::new(configs, nodes).map_err(|error| Error::Payload(error.to_string()))
    }
}

impl From<&StoredMembership> for StoredMembershipV1 {
    fn from(stored: &StoredMembership) -> Self {
        Self { at: stored.log_id().as_ref().map(LogIdV1::from), membership: stored.membership().into() }
    }
}

impl TryFrom<StoredMembershipV1> for StoredMembership {
    type Error = Error;

    fn try_from(stored: StoredMembershipV1) -> Result<Self, Error> {
        Ok(Self::new(stored.at.map(LogId::from), stored.membership.try_into()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_release_is_frozen() {
        let peer = |name: &str| Peer { name: name.into(), address: format!("{name}:2380") };
        let nodes = BTreeMap::from([(1, peer("a")), (2, peer("b"))]);
        let membership = Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap();
        let stored = StoredMembership::new(Some(LogId::new_term_index(1, 2)), membership);
        let bytes = encode_membership(&stored).unwrap();
        assert_eq!(
            hex::encode(&bytes),
            "4846020400010000001c449cd338010102010201020201016106613a3233383002016206623a32333830"
        );
        assert_eq!(decode_membership(&bytes).unwrap(), stored);
    }

    #[test]
    fn a_membership_without_voters_is_damage() {
        let node = NodeV1 { id: 1, name: "a".into(), address: "a:1".into() };
        let stored = MembershipV1 { configs: vec![vec![1, 2]], nodes: vec![node] };
        assert!(Membership::try_from(stored).is_err());
    }

    #[test]
    fn the_empty_membership_survives() {
        let stored = StoredMembership::default();
        assert_eq!(decode_membership(&encode_membership(&stored).unwrap()).unwrap(), stored);
    }
}
