//! The differences that are meant. An entry is as narrow as it can be: everything else fails the test.

use holdfast_proto::{
    etcdserverpb::{HashKvResponse, TxnRequest},
    mvccpb::{Event, event::EventType},
};

use tonic::Code;

use crate::{answer::Answer, generate::Horizon, lane::Lane, operation::Operation};

/// One difference that stays.
pub(crate) struct Allowed {
    /// Of the specification of chainfire.
    pub(crate) section: &'static str,
    pub(crate) reason: &'static str,
    lanes: &'static [Lane],
    /// Whether this is the difference: what was asked, what etcd said, what chainfire said, what was known before.
    covers: fn(&Operation, &Answer, &Answer, Horizon) -> bool,
}

const LIST: &[Allowed] = &[
    Allowed {
        section: "§1.3",
        reason: "HashKV tells the revision that it hashed since 3.6",
        lanes: &[Lane::V3_4],
        covers: |_, theirs, ours, _| {
            let (Answer::HashKv(theirs), Answer::HashKv(ours)) = (theirs, ours) else { return false };
            *theirs == HashKvResponse { hash_revision: 0, ..*ours }
        },
    },
    Allowed {
        section: "§2.9",
        reason: "for the revisions of the last compactions, etcd answers with hashes that it kept since 3.5",
        lanes: &[Lane::V3_6],
        covers: |operation, theirs, ours, horizon| {
            let Operation::HashKv(request) = operation else { return false };
            let Answer::HashKv(theirs) = theirs else { return false };
            match ours {
                // A compaction at revision 0, possible on a fresh store, hides what 0 means otherwise.
                Answer::HashKv(ours) => {
                    let kept = request.revision == ours.compact_revision || request.revision == 0;
                    kept && theirs.compact_revision < ours.compact_revision && theirs.hash_revision == request.revision
                }
                Answer::Refused { text, .. } => {
                    text.ends_with("revision has been compacted") && (1..horizon.compacted).contains(&request.revision)
                }
                _ => false,
            }
        },
    },
    Allowed {
        section: "§2.9",
        reason: "3.4 does not hash the compacted revision itself, although it can be read",
        lanes: &[Lane::V3_4],
        covers: |operation, theirs, ours, horizon| {
            let Operation::HashKv(request) = operation else { return false };
            let (Answer::Refused { text, .. }, Answer::HashKv(_)) = (theirs, ours) else { return false };
            request.revision == horizon.compacted && text.ends_with("mvcc: required revision has been compacted")
        },
    },
    Allowed {
        section: "§2.4",
        reason: "of several faults in a transaction 3.4 finds those of puts first, 3.6 and chainfire the first one",
        lanes: &[Lane::V3_4],
        covers: |operation, theirs, ours, _| {
            let refused = |answer: &Answer| matches!(answer, Answer::Refused { .. });
            match (theirs, ours) {
                (Answer::Watch(theirs), Answer::Watch(ours)) => {
                    let mut ours = ours.clone();
                    for (our, their) in ours.writes.iter_mut().zip(&theirs.writes) {
                        if refused(our) && refused(their) {
                            *our = their.clone();
                        }
                    }
                    *theirs == ours
                }
                _ => matches!(operation, Operation::Txn(_)) && refused(theirs) && refused(ours),
            }
        },
    },
    Allowed {
        section: "§2.10",
        reason: "who calls is asked before what is wrong with the request",
        lanes: Lane::ALL,
        covers: |_, theirs, ours, _| {
            let (Answer::Refused { code, .. }, Answer::Refused { text, .. }) = (theirs, ours) else { return false };
            let stranger = ["etcdserver: invalid auth token", "etcdserver: user name is empty"];
            *code == Code::InvalidArgument && stranger.contains(&text.as_str())
        },
    },
    Allowed {
        section: "§2.10",
        reason: "a transaction that touches nothing is nothing for nobody",
        lanes: Lane::ALL,
        covers: |operation, theirs, ours, _| {
            let (Answer::Txn(_), Answer::Refused { text, .. }) = (theirs, ours) else { return false };
            *operation == Operation::Txn(TxnRequest::default()) && text == "etcdserver: user name is empty"
        },
    },
    Allowed {
        section: "§2.5",
        reason: "a watch from the compacted revision sees the deletions of that revision since 3.4.34",
        lanes: &[Lane::V3_4],
        covers: |_, theirs, ours, horizon| {
            let (Answer::Watch(theirs), Answer::Watch(ours)) = (theirs, ours) else { return false };
            let mut ours = ours.clone();
            let compacted = |event: &Event| event.kv.as_ref().is_some_and(|kv| kv.mod_revision == horizon.compacted);
            for events in ours.events.values_mut() {
                events.retain(|event| event.r#type() == EventType::Put || !compacted(event));
            }
            ours.events.retain(|_, events| !events.is_empty());
            *theirs == ours
        },
    },
];

/// What the generator does not ask, since the stores would not be the same afterwards, or a server not be there.
pub(crate) struct LeftOut {
    pub(crate) section: &'static str,
    pub(crate) what: &'static str,
    pub(crate) lanes: &'static [Lane],
}

pub(crate) const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        section: "§2.10",
        what: "by users: ranges that end before they begin, which etcd refuses to all but root and chainfire finds \
               empty; puts within transactions with a lease or prev_kv, for which etcd asks no right; permissions from \
               one key to several ends, of which etcd takes the first for all; and AuthStatus, keep-alives, \
               compactions, hashes and leases by others than root, which 3.6.5 judges as later releases and chainfire \
               do not",
        lanes: Lane::ALL,
    },
    LeftOut {
        section: "§2.4",
        what: "a transaction that puts a key and deletes everything from an earlier key on (range_end \\0), or that puts \
               it in one nested transaction and deletes it in a later one beside that: etcd overlooks that the two \
               overlap and does both; chainfire refuses the duplicate key",
        lanes: Lane::ALL,
    },
    LeftOut {
        section: "§2.6",
        what: "what follows on a stream after a compaction has overtaken one of its watchers: for etcd it still counts, so \
               that its id is taken, a cancellation is answered again and a request for progress never; for chainfire \
               it is gone",
        lanes: Lane::ALL,
    },
    LeftOut {
        section: "§2.9",
        what: "compactions that are not waited for: while no key is live, 3.4.23 hashes what it is about to remove",
        lanes: &[Lane::V3_4],
    },
    LeftOut {
        section: "§2.2",
        what: "unknown sort orders and targets: 3.4.23 ignores them or panics, chainfire refuses them as 3.6 does",
        lanes: &[Lane::V3_4],
    },
    LeftOut {
        section: "§2.6",
        what: "watches from a negative revision: 3.4.23 creates them and calls them compacted, chainfire refuses the \
               creation as 3.6 does",
        lanes: &[Lane::V3_4],
    },
];

/// The entry that covers this difference.
pub(crate) fn covering(
    operation: &Operation,
    theirs: &Answer,
    ours: &Answer,
    horizon: Horizon,
) -> Option<&'static Allowed> {
    let here = LIST.iter().filter(|allowed| allowed.lanes.contains(&horizon.lane));
    let operation = operation.bare();
    here.into_iter().find(|allowed| (allowed.covers)(operation, theirs, ours, horizon))
}
