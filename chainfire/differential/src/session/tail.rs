//! How a recording ends, and what a watch promises.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_proto::{
    etcdserverpb::{
        DeleteRangeRequest, PutRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchResponse, request_op::Request,
    },
    mvccpb::Event,
};

const NO_PUT: i32 = 0;
const NO_DELETE: i32 = 1;

/// A put and a deletion of every key with which a watcher's selection begins; none without watchers.
pub(super) fn last_writes<'a>(
    watchers: impl Iterator<Item = &'a WatchCreateRequest>,
) -> Option<(TxnRequest, TxnRequest)> {
    let keys: BTreeSet<Bytes> = watchers.map(first_key).collect();
    if keys.is_empty() {
        return None;
    }
    let all = |make: fn(Bytes) -> Request| TxnRequest {
        success: keys.iter().map(|key| RequestOp { request: Some(make(key.clone())) }).collect(),
        ..Default::default()
    };
    let puts = all(|key| Request::RequestPut(PutRequest { key, ..Default::default() }));
    let deletes = all(|key| Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() }));
    Some((puts, deletes))
}

/// The revision of the last event that `watcher` is owed, of those that `last_writes` made in `put` and `deleted`.
pub(super) fn last_event(
    watcher: &WatchCreateRequest,
    deletes: &TxnRequest,
    (put, deleted): (i64, i64),
) -> Option<i64> {
    let concerned = deletes
        .success
        .iter()
        .any(|op| matches!(&op.request, Some(Request::RequestDeleteRange(delete)) if selects(watcher, &delete.key)));
    let wants = |filter: i32, revision: i64| !watcher.filters.contains(&filter) && revision >= watcher.start_revision;
    if !concerned {
        None
    } else if wants(NO_DELETE, deleted) {
        Some(deleted)
    } else {
        Some(put).filter(|put| wants(NO_PUT, *put))
    }
}

/// What `response` breaks of the promises of a watch, after `seen`: events come in order, none twice, and a revision
/// comes `whole` unless the watcher takes fragments.
pub(super) fn broken_promises(seen: &[Event], response: &WatchResponse, whole: bool) -> Vec<String> {
    let place = |event: &Event| event.kv.as_ref().map(|kv| (kv.mod_revision, kv.key.clone())).unwrap_or_default();
    let mut broken = Vec::new();
    let mut places: BTreeSet<_> = seen.iter().map(place).collect();
    let mut last = seen.last().map_or(0, |event| place(event).0);
    if whole && response.events.first().is_some_and(|first| place(first).0 == last) {
        broken.push(format!("revision {last} came in parts"));
    }
    for event in &response.events {
        let (revision, key) = place(event);
        if revision < last {
            broken.push(format!("revision {revision} came after {last}"));
        }
        if !places.insert((revision, key.clone())) {
            broken.push(format!("{key:?} of revision {revision} came twice"));
        }
        last = last.max(revision);
    }
    let header = response.header.unwrap_or_default().revision;
    if header < last {
        broken.push(format!("an answer at revision {header} has events of {last}"));
    }
    broken
}

/// The empty key stands for the smallest.
fn first_key(watcher: &WatchCreateRequest) -> Bytes {
    if watcher.key.is_empty() { Bytes::from_static(&[0]) } else { watcher.key.clone() }
}

fn selects(watcher: &WatchCreateRequest, key: &Bytes) -> bool {
    let first = first_key(watcher);
    match watcher.range_end.as_ref() {
        [] => *key == first,
        [0] => *key >= first,
        end => *key >= first && key.as_ref() < end,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_proto::{etcdserverpb::ResponseHeader, mvccpb::KeyValue};

    use super::*;

    fn event(revision: i64, key: &'static str) -> Event {
        Event {
            kv: Some(KeyValue { key: key.into(), mod_revision: revision, ..Default::default() }),
            ..Default::default()
        }
    }

    fn response(events: Vec<Event>) -> WatchResponse {
        WatchResponse {
            header: Some(ResponseHeader { revision: 9, ..Default::default() }),
            events,
            ..Default::default()
        }
    }

    #[test]
    fn disorder_repetition_and_parts_are_noticed() {
        let seen = [event(3, "a"), event(4, "a")];
        assert!(broken_promises(&seen, &response(vec![event(5, "a"), event(5, "b")]), true).is_empty());
        assert_eq!(broken_promises(&seen, &response(vec![event(4, "b")]), true), ["revision 4 came in parts"]);
        assert!(broken_promises(&seen, &response(vec![event(4, "b")]), false).is_empty());
        assert_eq!(broken_promises(&seen, &response(vec![event(3, "b")]), true), ["revision 3 came after 4"]);
        assert_eq!(broken_promises(&seen, &response(vec![event(5, "a"), event(5, "a")]), true).len(), 1);
        assert_eq!(broken_promises(&[], &response(vec![event(10, "a")]), true).len(), 1);
    }

    #[test]
    fn a_watcher_waits_for_the_last_event_that_is_its_own() {
        let watcher = WatchCreateRequest { key: "b".into(), start_revision: 3, ..Default::default() };
        let (_, deletes) = last_writes([&watcher].into_iter()).unwrap();
        assert_eq!(last_event(&watcher, &deletes, (7, 8)), Some(8));
        let no_delete = WatchCreateRequest { filters: vec![NO_DELETE], ..watcher.clone() };
        assert_eq!(last_event(&no_delete, &deletes, (7, 8)), Some(7));
        let later = WatchCreateRequest { start_revision: 9, ..watcher.clone() };
        assert_eq!(last_event(&later, &deletes, (7, 8)), None);
        let other = WatchCreateRequest { key: "c".into(), range_end: "d".into(), ..watcher };
        assert_eq!(last_event(&other, &deletes, (7, 8)), None);
    }
}
