use std::fmt;

use holdfast_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, TxnRequest, WatchCreateRequest,
};

use crate::brief::brief;

/// One thing to ask both servers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    HashKv(HashKvRequest),
    /// A lease that stays, with a time that outlasts the run.
    LeaseGrant(LeaseGrantRequest),
    /// A lease that is revoked at once: its id may be the server's choice and its time short.
    LeasePasses(LeaseGrantRequest),
    LeaseRevoke(LeaseRevokeRequest),
    LeaseKeepAlive(LeaseKeepAliveRequest),
    LeaseTimeToLive(LeaseTimeToLiveRequest),
    LeaseLeases,
    /// A watch stream from its opening to its end, with writes in between.
    Watch(Vec<WatchStep>),
}

/// What happens on a watch stream, or beside it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WatchStep {
    Create(WatchCreateRequest),
    /// Once everything so far has arrived: what is on its way to a cancelled watcher may or may not be sent.
    Cancel(i64),
    Write(Operation),
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&brief(&format!("{self:?}")))
    }
}
