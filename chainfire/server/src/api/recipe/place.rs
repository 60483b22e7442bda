use bytes::Bytes;
use chainfire_core::kv::{EventKind, Keys, Revision};
use holdfast_keyspace::KeyRange;
use holdfast_proto::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp,
        TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op, response_op,
    },
    mvccpb::KeyValue,
};
use tonic::Status;

use super::{
    Inside,
    inside::{Lookout, Seen},
};
use crate::Error;

/// All who want the same lock, or the same leadership.
#[derive(Clone)]
pub(super) struct Line {
    /// The name and a slash: what their keys begin with.
    prefix: Bytes,
}

/// Somebody's place in a [`Line`]: a key, and the revision that created it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) key: Bytes,
    pub(super) revision: i64,
}

impl Line {
    pub(super) fn of(name: &[u8]) -> Self {
        Self { prefix: [name, b"/"].concat().into() }
    }

    /// The key of who stands in the line with `lease`.
    pub(super) fn key(&self, lease: i64) -> Bytes {
        [self.prefix.as_ref(), format!("{lease:x}").as_bytes()].concat().into()
    }

    pub(super) fn keys(&self) -> Keys {
        let end = KeyRange::after_prefix(&self.prefix).unwrap_or_else(|| vec![0]);
        Keys::from_wire(self.prefix.clone(), end.into())
    }

    /// Asks for the oldest key of the line.
    pub(super) fn oldest(&self) -> RangeRequest {
        RangeRequest { sort_order: SortOrder::Ascend.into(), ..self.one_by_age() }
    }

    fn one_by_age(&self) -> RangeRequest {
        let range_end = KeyRange::after_prefix(&self.prefix).unwrap_or_else(|| vec![0]).into();
        let key = self.prefix.clone();
        RangeRequest { key, range_end, limit: 1, sort_target: SortTarget::Create.into(), ..RangeRequest::default() }
    }

    /// Waits until nobody is left who came before `place`.
    pub(super) async fn wait(&self, inside: &Inside, place: &Place) -> Result<(), Status> {
        loop {
            let earlier = RangeRequest {
                sort_order: SortOrder::Descend.into(),
                max_create_revision: place.revision - 1,
                ..self.one_by_age()
            };
            let found = inside.range(earlier).await?;
            let Some(next) = found.kvs.first() else { return Ok(()) };
            gone(inside, next.key.clone(), revision(found.header.as_ref())).await?;
        }
    }
}

/// Waits until `key`, which there was at `revision`, is deleted, or until that can no longer be seen.
async fn gone(inside: &Inside, key: Bytes, revision: i64) -> Result<(), Error> {
    let mut lookout: Lookout = inside.watch(Keys::One(key), Revision(revision.saturating_add(1)))?;
    loop {
        match lookout.next(inside).await? {
            Seen::Events { events, .. } if events.iter().all(|event| event.kind == EventKind::Put) => {}
            Seen::Events { .. } | Seen::Compacted => return Ok(()),
        }
    }
}

impl Place {
    /// Puts `value` under `key` if nobody stands there yet, and asks for `more` in any case: the first answer is for the
    /// put, or for a look at who stands there.
    pub(super) async fn take(
        inside: &Inside,
        key: Bytes,
        value: Bytes,
        lease: i64,
        more: &[RangeRequest],
    ) -> Result<(Self, TxnResponse), Status> {
        let put = PutRequest { key: key.clone(), value, lease, ..PutRequest::default() };
        let look = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let then = |first: request_op::Request| {
            let more = more.iter().cloned().map(request_op::Request::RequestRange);
            std::iter::once(first).chain(more).map(|request| RequestOp { request: Some(request) }).collect()
        };
        let txn = TxnRequest {
            compare: vec![created_at(key.clone(), 0)],
            success: then(request_op::Request::RequestPut(put)),
            failure: then(request_op::Request::RequestRange(look)),
        };
        let answer = inside.txn(txn).await?;
        let revision = if answer.succeeded {
            revision(answer.header.as_ref())
        } else {
            found(answer.responses.first()).ok_or_else(Error::mismatch)?.create_revision
        };
        Ok((Self { key, revision }, answer))
    }

    /// Replaces the value; false if the place is not held any more.
    pub(super) async fn replace(&self, inside: &Inside, value: Bytes, lease: i64) -> Result<TxnResponse, Status> {
        let put = PutRequest { key: self.key.clone(), value, lease, ..PutRequest::default() };
        self.while_held(inside, request_op::Request::RequestPut(put)).await
    }

    /// Leaves the line; does nothing if the place is not held any more.
    pub(super) async fn leave(&self, inside: &Inside) -> Result<TxnResponse, Status> {
        let delete = DeleteRangeRequest { key: self.key.clone(), ..DeleteRangeRequest::default() };
        self.while_held(inside, request_op::Request::RequestDeleteRange(delete)).await
    }

    async fn while_held(&self, inside: &Inside, request: request_op::Request) -> Result<TxnResponse, Status> {
        let txn = TxnRequest {
            compare: vec![created_at(self.key.clone(), self.revision)],
            success: vec![RequestOp { request: Some(request) }],
            failure: Vec::new(),
        };
        inside.txn(txn).await
    }

    /// A header for an answer if the place is still held; its session may have expired while it waited.
    pub(super) async fn held(&self, inside: &Inside) -> Result<Option<ResponseHeader>, Status> {
        let RangeResponse { header, kvs, .. } =
            inside.range(RangeRequest { key: self.key.clone(), ..RangeRequest::default() }).await?;
        let held = kvs.first().is_some_and(|kv| kv.create_revision == self.revision);
        Ok(header.filter(|_| held))
    }
}

/// The first pair of a range among a transaction's answers.
pub(super) fn found(answer: Option<&ResponseOp>) -> Option<&KeyValue> {
    match answer?.response.as_ref()? {
        response_op::Response::ResponseRange(range) => range.kvs.first(),
        response_op::Response::ResponsePut(_)
        | response_op::Response::ResponseDeleteRange(_)
        | response_op::Response::ResponseTxn(_) => None,
    }
}

fn created_at(key: Bytes, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key,
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Compare::default()
    }
}

pub(super) fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_its_lease_in_hexadecimal() {
        let line = Line::of(b"mylock");
        assert_eq!(line.key(0x2040_a1fd_a71e_9b2a), "mylock/2040a1fda71e9b2a");
        assert_eq!(line.key(10), "mylock/a");
        assert_eq!(line.keys(), Keys::Range { start: "mylock/".into(), end: "mylock0".into() });
    }
}
