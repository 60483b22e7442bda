//! Keys beyond the ranges that IAM grants: the clerk has `a/` and the writer may only write, below `w/`.

use holdfast_proto::{
    etcdserverpb::{
        CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest,
        LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        WatchCreateRequest, WatchRequest, compare::TargetUnion, request_op::Request as Op, watch_request::RequestUnion,
    },
    v3lockpb::LockRequest,
};
use prost::Message;
use tonic::Code;

use super::{
    Attack, Door, Refused, Row, attack, grpc, row,
    scene::{LEASE, Scene},
};
use crate::http::Request;

fn call(method: &'static str, message: &impl Message, token: &str) -> Request<'static> {
    Request::grpc(method, &message.encode_to_vec()).header("token", token)
}

fn range(key: &str, end: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), range_end: end.to_owned().into(), ..RangeRequest::default() }
}

fn put(key: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: "attacked".into(), ..PutRequest::default() }
}

fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.to_owned().into(), range_end: end.to_owned().into(), prev_kv: false }
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// Inside of transactions that are inside of transactions.
fn nested(request: Op, depth: usize) -> TxnRequest {
    let inner = if depth == 0 { request } else { Op::RequestTxn(nested(request, depth - 1)) };
    TxnRequest { success: vec![op(Op::RequestRange(range("a/1", ""))), op(inner)], ..TxnRequest::default() }
}

fn compare(key: &str, end: &str) -> TxnRequest {
    let compare = Compare {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        target_union: Some(TargetUnion::Version(0)),
        ..Compare::default()
    };
    TxnRequest { compare: vec![compare], ..TxnRequest::default() }
}

fn watch(key: &str, end: &str) -> WatchRequest {
    let create =
        WatchCreateRequest { key: key.to_owned().into(), range_end: end.to_owned().into(), ..Default::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

fn denied(actor: &str, action: &str, key: &str) -> Row {
    row(actor, action, &format!("keys/{key}"), "no right on these keys")
}

#[rustfmt::skip]
pub(super) fn table(scene: &Scene) -> Vec<Attack> {
    let no = Code::PermissionDenied;
    let clerk = |what, method, message: &dyn Encoded, row| grpc(what, Request::grpc(method, &message.bytes()).header("token", scene.clerk.clone()), no, row);
    let writer = |what, method, message: &dyn Encoded, row| grpc(what, Request::grpc(method, &message.bytes()).header("token", scene.writer.clone()), no, row);
    let watching = |what, message: WatchRequest, row| attack(what, Door::Api, call("/etcdserverpb.Watch/Watch", &message, &scene.clerk), Refused::Cancelled, row);
    let (read, write) = (|key: &str| denied("service/clerk", "kv.Read", key), |key: &str| denied("service/clerk", "kv.Write", key));
    let old = |key: &str| denied("service/writer", "kv.Read", key);
    let admins = |reason: &str| row("service/clerk", "cluster.Admin", "cluster/chainfire", reason);
    vec![
        clerk("a key outside", "/etcdserverpb.KV/Range", &range("b/1", ""), read("b/1")),
        clerk("the key after the last", "/etcdserverpb.KV/Range", &range("a0", ""), read("a0")),
        clerk("a range that begins before", "/etcdserverpb.KV/Range", &range("a", "a0"), read("a")),
        clerk("a range that ends one byte later", "/etcdserverpb.KV/Range", &range("a/", "a0\0"), read("a/")),
        clerk("from a key to the end: range_end \\0", "/etcdserverpb.KV/Range", &range("a/", "\0"), read("a/")),
        clerk("everything: \\0 to \\0", "/etcdserverpb.KV/Range", &range("\0", "\0"), read("\\x00")),
        clerk("only the count of what is beyond", "/etcdserverpb.KV/Range", &RangeRequest { count_only: true, ..range("b", "c") }, read("b")),
        clerk("at an older revision", "/etcdserverpb.KV/Range", &RangeRequest { revision: 2, serializable: true, ..range("b/1", "") }, read("b/1")),
        clerk("a path with dots is a key like any other", "/etcdserverpb.KV/Put", &put("./a/1"), write("./a/1")),
        clerk("writing outside", "/etcdserverpb.KV/Put", &put("b/1"), write("b/1")),
        clerk("deleting to the end", "/etcdserverpb.KV/DeleteRange", &delete("a/", "\0"), write("a/")),
        clerk("deleting across the border", "/etcdserverpb.KV/DeleteRange", &delete("a/", "b/2"), write("a/")),
        clerk("in a transaction", "/etcdserverpb.KV/Txn", &nested(Op::RequestPut(put("b/1")), 0), write("b/1")),
        clerk("in a nested transaction", "/etcdserverpb.KV/Txn", &nested(Op::RequestRange(range("b/", "b0")), 1), read("b/")),
        clerk("in the branch that is not taken", "/etcdserverpb.KV/Txn", &TxnRequest { failure: vec![op(Op::RequestDeleteRange(delete("b/1", "")))], ..compare("a/1", "") }, write("b/1")),
        clerk("comparing a key outside", "/etcdserverpb.KV/Txn", &compare("b/1", ""), read("b/1")),
        clerk("comparing a range across the border", "/etcdserverpb.KV/Txn", &compare("a/", "\0"), read("a/")),
        writer("the value before, of who may not read", "/etcdserverpb.KV/Put", &PutRequest { prev_kv: true, ..put("w/1") }, old("w/1")),
        writer("what was deleted, of who may not read", "/etcdserverpb.KV/DeleteRange", &DeleteRangeRequest { prev_kv: true, ..delete("w/", "w0") }, old("w/")),
        writer("the value before, in a transaction", "/etcdserverpb.KV/Txn", &TxnRequest { success: vec![op(Op::RequestPut(PutRequest { prev_kv: true, ..put("w/1") }))], ..TxnRequest::default() }, old("w/1")),
        watching("watching a key outside", watch("b/1", ""), read("b/1")),
        watching("watching to the end", watch("a/", "\0"), read("a/")),
        watching("watching across the border", watch("a", "b"), read("a")),
        clerk("attaching to a lease with a key outside", "/etcdserverpb.KV/Put", &PutRequest { lease: LEASE, ..put("a/1") }, write("b/leased")),
        clerk("revoking such a lease", "/etcdserverpb.Lease/LeaseRevoke", &LeaseRevokeRequest { id: LEASE }, write("b/leased")),
        attack("keeping it alive", Door::Api, call("/etcdserverpb.Lease/LeaseKeepAlive", &LeaseKeepAliveRequest { id: LEASE }, &scene.clerk), Refused::Ended, write("b/leased")),
        clerk("listing its keys", "/etcdserverpb.Lease/LeaseTimeToLive", &LeaseTimeToLiveRequest { id: LEASE, keys: true }, read("b/leased")),
        clerk("listing all leases", "/etcdserverpb.Lease/LeaseLeases", &LeaseLeasesRequest {}, read("")),
        grpc("a lease of who has no keys", call("/etcdserverpb.Lease/LeaseGrant", &LeaseGrantRequest { id: 0, ttl: 60 }, &scene.bound), no, row("node/pier1", "kv.Write", "keys/*", "no right on these keys")).by(&scene.pier1),
        clerk("a lock outside", "/v3lockpb.Lock/Lock", &LockRequest { name: "b/lock".into(), lease: LEASE }, read("b/lock/1b59")),
        clerk("compacting", "/etcdserverpb.KV/Compact", &CompactionRequest { revision: 1, physical: false }, admins("nothing permits it")),
        clerk("a copy of everything", "/etcdserverpb.Maintenance/Snapshot", &holdfast_proto::etcdserverpb::SnapshotRequest {}, admins("nothing permits it")),
    ]
}

/// A message of any kind.
trait Encoded {
    fn bytes(&self) -> Vec<u8>;
}

impl<M: Message> Encoded for M {
    fn bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}
