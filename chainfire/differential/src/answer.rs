use std::{collections::BTreeMap, fmt};

use holdfast_proto::{
    etcdserverpb::{
        CompactionResponse, DeleteRangeResponse, HashKvResponse, LeaseGrantResponse, LeaseKeepAliveResponse,
        LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, PutResponse, RangeResponse, ResponseHeader,
        TxnResponse, WatchResponse,
    },
    mvccpb::Event,
};
use tonic::{Code, Status};

use crate::brief::brief;

/// What a server said, without what two servers may differ in: see [`Answer::canonical`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    HashKv(HashKvResponse),
    LeaseGrant(LeaseGrantResponse),
    /// The grant, whether its id is one that a server may choose, and the revocation.
    LeasePasses(Box<(Answer, bool, Answer)>),
    LeaseRevoke(LeaseRevokeResponse),
    LeaseKeepAlive(LeaseKeepAliveResponse),
    LeaseTimeToLive(LeaseTimeToLiveResponse),
    LeaseLeases(LeaseLeasesResponse),
    Watch(WatchRecord),
    /// The header of an answer about users and roles, and the names and permissions that it lists.
    Auth(Option<ResponseHeader>, Vec<String>),
    Refused {
        code: Code,
        text: String,
    },
}

/// What happened on a watch stream. How events are packed into responses is the server's affair, as long as it keeps
/// its promises.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct WatchRecord {
    /// The answers to creations, in order.
    pub(crate) created: Vec<WatchResponse>,
    /// Cancellations, by the watcher's id.
    pub(crate) canceled: BTreeMap<i64, Vec<WatchResponse>>,
    /// The events of each id, from first to last.
    pub(crate) events: BTreeMap<i64, Vec<Event>>,
    /// The revision of the last progress notification, where one is owed.
    pub(crate) progress: Option<i64>,
    /// The answers to the writes beside the stream.
    pub(crate) writes: Vec<Answer>,
    /// Promises that were broken: order, uniqueness, whole revisions.
    pub(crate) broken: Vec<String>,
    /// What was waited for in vain.
    pub(crate) missing: Vec<String>,
}

/// Seconds by which the time that a lease has left may differ: the servers were asked at different moments.
const CLOCKS: i64 = 2;

impl Answer {
    pub(crate) fn of<T>(result: Result<tonic::Response<T>, Status>, make: impl FnOnce(T) -> Self) -> Self {
        match result {
            Ok(response) => make(response.into_inner()).canonical(),
            Err(status) => Self::Refused { code: status.code(), text: status.message().to_owned() },
        }
    }

    /// The revision that the answer's header has.
    pub(crate) fn revision(&self) -> Option<i64> {
        let header = match self {
            Self::Range(response) => response.header,
            Self::Put(response) => response.header,
            Self::DeleteRange(response) => response.header,
            Self::Txn(response) => response.header,
            Self::Compact(response) => response.header,
            Self::HashKv(response) => response.header,
            Self::LeaseGrant(response) => response.header,
            Self::LeaseRevoke(response) => response.header,
            Self::LeaseKeepAlive(response) => response.header,
            Self::LeaseTimeToLive(response) => response.header,
            Self::LeaseLeases(response) => response.header,
            Self::LeasePasses(parts) => return parts.2.revision(),
            Self::Watch(record) => return record.writes.iter().rev().find_map(Self::revision),
            Self::Auth(header, _) => *header,
            Self::Refused { .. } => None,
        };
        header.map(|header| header.revision)
    }

    /// Without the ids of cluster and member and the Raft term, and with lists sorted whose order etcd leaves open.
    fn canonical(mut self) -> Self {
        match &mut self {
            Self::Range(response) => anonymous(&mut response.header),
            Self::Put(response) => anonymous(&mut response.header),
            Self::DeleteRange(response) => anonymous(&mut response.header),
            Self::Txn(response) => anonymous(&mut response.header),
            Self::Compact(response) => anonymous(&mut response.header),
            Self::HashKv(response) => anonymous(&mut response.header),
            Self::LeaseGrant(response) => anonymous(&mut response.header),
            Self::LeaseRevoke(response) => anonymous(&mut response.header),
            Self::LeaseKeepAlive(response) => anonymous(&mut response.header),
            Self::LeaseTimeToLive(response) => {
                anonymous(&mut response.header);
                response.keys.sort_unstable();
            }
            Self::LeaseLeases(response) => {
                anonymous(&mut response.header);
                response.leases.sort_unstable_by_key(|lease| lease.id);
            }
            Self::Auth(header, _) => anonymous(header),
            Self::LeasePasses(_) | Self::Watch(_) | Self::Refused { .. } => {}
        }
        self
    }

    /// Whether two servers said the same. The only thing that may differ is how long a lease has left.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::LeaseTimeToLive(one), Self::LeaseTimeToLive(another)) => {
                let close =
                    one.ttl.abs_diff(another.ttl) <= CLOCKS.unsigned_abs() && (one.ttl < 0) == (another.ttl < 0);
                close && *one == LeaseTimeToLiveResponse { ttl: one.ttl, ..another.clone() }
            }
            _ => self == other,
        }
    }
}

/// Removes from a header what is a server's own.
pub(crate) fn anonymous(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        *header = ResponseHeader { revision: header.revision, ..Default::default() };
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watch(record) => record.fmt(formatter),
            other => formatter.write_str(&brief(&format!("{other:?}"))),
        }
    }
}

/// A line for each thing.
impl fmt::Display for WatchRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |response: &WatchResponse| {
            let revision = response.header.map(|header| header.revision);
            let WatchResponse { watch_id, canceled, compact_revision, cancel_reason, .. } = response;
            format!("{watch_id} at {revision:?} canceled={canceled} compacted={compact_revision} {cancel_reason:?}")
        };
        for created in &self.created {
            write!(formatter, "\n  created {}", told(created))?;
        }
        for canceled in self.canceled.values().flatten() {
            write!(formatter, "\n  canceled {}", told(canceled))?;
        }
        for (id, events) in &self.events {
            for event in events {
                write!(formatter, "\n  event of {id}: {}", brief(&format!("{event:?}")))?;
            }
        }
        for write in &self.writes {
            write!(formatter, "\n  write: {write}")?;
        }
        write!(formatter, "\n  progress {:?}, broken {:?}, missing {:?}", self.progress, self.broken, self.missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time_to_live(ttl: i64, granted_ttl: i64) -> Answer {
        Answer::LeaseTimeToLive(LeaseTimeToLiveResponse { ttl, granted_ttl, ..Default::default() })
    }

    #[test]
    fn clocks_may_differ_a_little_and_nothing_else() {
        assert!(time_to_live(99, 100).agrees(&time_to_live(98, 100)));
        assert!(!time_to_live(99, 100).agrees(&time_to_live(90, 100)));
        assert!(!time_to_live(99, 100).agrees(&time_to_live(99, 200)));
        assert!(!time_to_live(-1, 0).agrees(&time_to_live(0, 0)));
    }

    #[test]
    fn who_answered_does_not_count() {
        let put = |cluster_id, revision| {
            let header = ResponseHeader { cluster_id, member_id: cluster_id, revision, raft_term: cluster_id };
            Answer::of(Ok(tonic::Response::new(PutResponse { header: Some(header), prev_kv: None })), Answer::Put)
        };
        assert!(put(1, 5).agrees(&put(2, 5)));
        assert!(!put(1, 5).agrees(&put(1, 6)));
    }
}
