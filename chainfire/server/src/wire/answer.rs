use chainfire_core::kv::{
    DeleteAnswer, Event, EventKind, KeyValue, OpAnswer, PutAnswer, RangeAnswer, Revision, TxnAnswer,
};
use holdfast_proto::{
    etcdserverpb::{
        DeleteRangeResponse, PutResponse, RangeResponse, ResponseHeader, ResponseOp, TxnResponse, response_op::Response,
    },
    mvccpb::{self, event::EventType},
};

use super::header::inner;

pub(crate) fn range_response(header: ResponseHeader, answer: RangeAnswer) -> RangeResponse {
    RangeResponse { header: Some(header), kvs: key_values(answer.kvs), more: answer.more, count: count(answer.count) }
}

/// A part of a range that says nothing but pairs.
pub(crate) fn pairs(kvs: Vec<KeyValue>) -> RangeResponse {
    RangeResponse { kvs: key_values(kvs), ..RangeResponse::default() }
}

pub(crate) fn put_response(header: ResponseHeader, answer: PutAnswer) -> PutResponse {
    PutResponse { header: Some(header), prev_kv: answer.prev_kv.map(key_value) }
}

pub(crate) fn delete_response(header: ResponseHeader, answer: DeleteAnswer) -> DeleteRangeResponse {
    DeleteRangeResponse { header: Some(header), deleted: count(answer.deleted), prev_kvs: key_values(answer.prev_kvs) }
}

pub(crate) fn txn_response(header: ResponseHeader, answer: TxnAnswer) -> TxnResponse {
    let responses = answer.responses.into_iter().map(op_response).collect();
    TxnResponse { header: Some(header), succeeded: answer.succeeded, responses }
}

fn op_response(answer: OpAnswer) -> ResponseOp {
    let response = match answer {
        OpAnswer::Range(answer) => Response::ResponseRange(range_response(inner(answer.revision), answer)),
        OpAnswer::Put(answer) => Response::ResponsePut(put_response(inner(answer.revision), answer)),
        OpAnswer::DeleteRange(answer) => Response::ResponseDeleteRange(delete_response(inner(answer.revision), answer)),
        // A nested transaction's header is there and says nothing; those of its operations say the revision.
        OpAnswer::Txn(answer) => Response::ResponseTxn(txn_response(inner(Revision(0)), answer)),
    };
    ResponseOp { response: Some(response) }
}

pub(super) fn event_type(kind: EventKind) -> EventType {
    match kind {
        EventKind::Put => EventType::Put,
        EventKind::Delete => EventType::Delete,
    }
}

pub(super) fn event(event: Event, prev_kv: bool) -> mvccpb::Event {
    mvccpb::Event {
        r#type: event_type(event.kind).into(),
        kv: Some(key_value(event.kv)),
        prev_kv: event.prev_kv.filter(|_| prev_kv).map(key_value),
    }
}

fn key_values(kvs: Vec<KeyValue>) -> Vec<mvccpb::KeyValue> {
    kvs.into_iter().map(key_value).collect()
}

pub(crate) fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision.0,
        mod_revision: kv.mod_revision.0,
        version: kv.version,
        value: kv.value,
        lease: kv.lease.0,
    }
}

/// Counts are signed on the wire; no store holds that many keys.
fn count(keys: u64) -> i64 {
    i64::try_from(keys).unwrap_or(i64::MAX)
}
