use bytes::Bytes;
use chainfire_core::kv::{Keys, Revision};
use holdfast_proto::etcdserverpb::{self as pb, watch_create_request::FilterType, watch_request::RequestUnion};

use crate::{
    Error,
    watch::{Filters, Order, WatchId, Watcher},
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

#[cfg(test)]
mod tests {
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
}
