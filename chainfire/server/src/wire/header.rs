use chainfire_core::kv::Revision;
use holdfast_proto::etcdserverpb::ResponseHeader;

use crate::members::{ClusterId, MemberId};

/// What all response headers of this server share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headers {
    pub(crate) cluster: ClusterId,
    pub(crate) member: MemberId,
}

impl Headers {
    pub(crate) fn at(self, revision: Revision, term: u64) -> ResponseHeader {
        ResponseHeader { cluster_id: self.cluster.0, member_id: self.member.0, revision: revision.0, raft_term: term }
    }
}

/// The header of an operation inside a transaction: nothing but the revision.
pub(super) fn inner(revision: Revision) -> ResponseHeader {
    ResponseHeader { revision: revision.0, ..ResponseHeader::default() }
}
