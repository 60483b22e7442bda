use bytes::Bytes;
use chainfire_core::kv::{Keys, Revision};
use holdfast_proto::etcdserverpb::{self as pb, watch_create_request::FilterType, watch_request::RequestUnion};
use prost::Message as _;

use super::{Headers, answer};
use crate::{
    Error,
    watch::{Filters, Order, Told, WatchId, Watcher},
};

/// What a client says on a watch stream.
pub(crate) enum WatchCall {
    Create(Result<Order, Invalid>),
    Cancel(WatchId),
    Progress,
    /// Of a newer client.
    Unknown,
}

/// Why a watcher cannot be created; the text goes to the client as the reason of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("mvcc: watcher range is empty")]
    EmptyRange,
    #[error("{}", Error::Compacted)]
    NegativeRevision,
}

pub(crate) fn watch_call(request: pb::WatchRequest) -> WatchCall {
    match request.request_union {
        Some(RequestUnion::CreateRequest(create)) => WatchCall::Create(order(create)),
        Some(RequestUnion::CancelRequest(cancel)) => WatchCall::Cancel(WatchId(cancel.watch_id)),
        Some(RequestUnion::ProgressRequest(_)) => WatchCall::Progress,
        None => WatchCall::Unknown,
    }
}

fn order(request: pb::WatchCreateRequest) -> Result<Order, Invalid> {
    if request.start_revision < 0 {
        return Err(Invalid::NegativeRevision);
    }
    // No key means the smallest one that can exist.
    let key = if request.key.is_empty() { Bytes::from_static(&[0]) } else { request.key };
    let keys = Keys::from_wire(key, request.range_end);
    if let Keys::Range { start, end } = &keys
        && end <= start
    {
        return Err(Invalid::EmptyRange);
    }
    let filtered = |kind: FilterType| request.filters.contains(&i32::from(kind));
    let watcher = Watcher {
        id: WatchId::NONE,
        keys,
        start: Revision(0),
        future: false,
        filters: Filters { no_put: filtered(FilterType::Noput), no_delete: filtered(FilterType::Nodelete) },
        prev_kv: request.prev_kv,
        fragment: request.fragment,
        progress_notify: request.progress_notify,
    };
    Ok(Order {
        id: (request.watch_id != 0).then_some(WatchId(request.watch_id)),
        start: (request.start_revision != 0).then_some(Revision(request.start_revision)),
        watcher,
    })
}

/// The messages that tell a client `told`: one, or several parts below `limit` bytes where the client takes fragments.
pub(crate) fn watch_responses(headers: Headers, term: u64, limit: usize, told: Told) -> Vec<pb::WatchResponse> {
    let response = |id: WatchId, revision: Revision| pb::WatchResponse {
        header: Some(headers.at(revision, term)),
        watch_id: id.0,
        ..pb::WatchResponse::default()
    };
    vec![match told {
        Told::Created { id, revision } => pb::WatchResponse { created: true, ..response(id, revision) },
        Told::Refused { reason, revision } => {
            let refused = response(WatchId::NONE, revision);
            pb::WatchResponse { created: true, canceled: true, cancel_reason: reason, ..refused }
        }
        Told::Canceled { id, revision } => pb::WatchResponse { canceled: true, ..response(id, revision) },
        Told::Overtaken { id, compacted } => {
            let canceled = response(id, Revision(0));
            pb::WatchResponse { canceled: true, compact_revision: compacted.0, ..canceled }
        }
        Told::Progress { id, revision } => response(id, revision),
        Told::Events { watcher, revision, events } => {
            let events = events.into_iter().map(|event| answer::event(event, watcher.prev_kv)).collect();
            let response = pb::WatchResponse { events, ..response(watcher.id, revision) };
            if watcher.fragment {
                return fragments(response, limit);
            }
            response
        }
    }]
}

/// Cuts a response into parts below `limit` bytes; all but the last say that more follows. An event stays whole.
fn fragments(response: pb::WatchResponse, limit: usize) -> Vec<pb::WatchResponse> {
    if response.encoded_len() < limit || response.events.len() < 2 {
        return vec![response];
    }
    let envelope = pb::WatchResponse { events: Vec::new(), ..response.clone() };
    let mut parts: Vec<pb::WatchResponse> = Vec::new();
    let mut size = limit;
    for event in response.events {
        // The field's tag and length come on top of the event itself.
        let length = event.encoded_len() + 6;
        match parts.last_mut().filter(|_| size + length < limit) {
            Some(part) => part.events.push(event),
            None => {
                size = envelope.encoded_len();
                parts.push(pb::WatchResponse { fragment: true, events: vec![event], ..envelope.clone() });
            }
        }
        size += length;
    }
    if let Some(last) = parts.last_mut() {
        last.fragment = false;
    }
    parts
}

#[cfg(test)]
mod tests {
    use holdfast_proto::mvccpb;

    use super::*;

    fn create(request: pb::WatchCreateRequest) -> Result<Order, Invalid> {
        match watch_call(pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) }) {
            WatchCall::Create(order) => order,
            WatchCall::Cancel(_) | WatchCall::Progress | WatchCall::Unknown => unreachable!("a create request"),
        }
    }

    #[test]
    fn the_empty_key_is_the_first_key() {
        let order = create(pb::WatchCreateRequest::default()).unwrap();
        assert_eq!(order.watcher.keys, Keys::One(Bytes::from_static(&[0])));
        assert_eq!((order.id, order.start), (None, None));
    }

    #[test]
    fn backwards_ranges_and_negative_revisions_are_refused() {
        let key = Bytes::from_static(b"b");
        let range_end = Bytes::from_static(b"a");
        let backwards = pb::WatchCreateRequest { key: key.clone(), range_end, ..Default::default() };
        assert_eq!(create(backwards).err(), Some(Invalid::EmptyRange));
        let negative = pb::WatchCreateRequest { key, start_revision: -1, ..Default::default() };
        assert_eq!(
            create(negative).err().map(|invalid| invalid.to_string()),
            Some("etcdserver: mvcc: required revision has been compacted".to_owned())
        );
    }

    fn response(sizes: &[usize]) -> pb::WatchResponse {
        let event = |size: &usize| mvccpb::Event {
            kv: Some(mvccpb::KeyValue { value: Bytes::from(vec![1; *size]), ..Default::default() }),
            ..Default::default()
        };
        pb::WatchResponse { watch_id: 3, events: sizes.iter().map(event).collect(), ..Default::default() }
    }

    #[test]
    fn small_responses_stay_whole() {
        assert_eq!(fragments(response(&[10, 10]), 1_000).len(), 1);
    }

    #[test]
    fn parts_stay_below_the_limit_and_say_that_more_follows() {
        let whole = response(&[400, 400, 400, 100]);
        let parts = fragments(whole.clone(), 1_000);
        assert!(parts.iter().all(|part| part.encoded_len() < 1_000));
        assert_eq!(parts.iter().map(|part| part.fragment).collect::<Vec<_>>(), [true, false]);
        let joined: Vec<_> = parts.into_iter().flat_map(|part| part.events).collect();
        assert_eq!(joined, whole.events);
    }

    #[test]
    fn one_large_event_is_never_split() {
        let parts = fragments(response(&[10, 5_000, 10]), 1_000);
        assert_eq!(parts.iter().map(|part| part.events.len()).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
