//! §1.5: what is wrong with a call, in code and text; clients compare texts. Users' and roles' are in `users`, alarms'
//! in `alarms`, a learner's in `rejoin`, a downgrade's in `maintenance`, elections' in `election`, a cancelled watcher's
//! in `watch`; what only a leaderless or stopping server says is in `three` and below.

use std::time::Duration;

use holdfast_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseRevokeRequest,
    MemberAddRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, PutRequest,
    RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest, request_op::Request,
    watch_request::RequestUnion,
};
use prost::Message as _;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tonic::{Code, Status};

use crate::{
    kv::{get, put},
    pages::ask,
    support::TestServer,
    three::{PATIENCE, id},
    txn::op,
    users::refused,
};

/// Each call and what it is refused with, under one code.
fn all_refused<const N: usize>(code: Code, cases: [(Result<(), Status>, &str); N]) {
    for (at, (answer, text)) in cases.into_iter().enumerate() {
        assert_eq!(refused(answer), (code, format!("etcdserver: {text}")), "case {at}");
    }
}

async fn range(server: &TestServer, request: RangeRequest) -> Result<(), Status> {
    server.kv().range(request).await.map(drop)
}

async fn write(server: &TestServer, request: PutRequest) -> Result<(), Status> {
    server.kv().put(request).await.map(drop)
}

async fn txn(server: &TestServer, request: TxnRequest) -> Result<(), Status> {
    server.kv().txn(request).await.map(drop)
}

/// A transaction of one operation.
async fn only(server: &TestServer, request: Request) -> Result<(), Status> {
    txn(server, TxnRequest { success: vec![op(request)], ..Default::default() }).await
}

#[tokio::test]
async fn what_cannot_be_meant_is_an_invalid_argument() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--max-txn-ops=3"]).await?;
    let s = &server;
    let no_key = "key is not provided";
    let (no_value, no_lease) =
        (PutRequest { ignore_value: true, ..put("a", "") }, PutRequest { ignore_lease: true, ..put("a", "1") });
    let value = PutRequest { value: "1".into(), ..no_value.clone() };
    let lease = PutRequest { lease: 7, ..no_lease.clone() };
    let (order, target) = (RangeRequest { sort_order: 9, ..get("a") }, RangeRequest { sort_target: 9, ..get("a") });
    let nothing = || RequestOp { request: None };
    let inner = TxnRequest { failure: vec![nothing()], ..Default::default() };
    let twice = vec![op(Request::RequestPut(put("a", "1"))); 2];
    let many = vec![op(Request::RequestRange(get("a"))); 4];
    let success = |success| TxnRequest { success, ..Default::default() };
    let failure = |failure| TxnRequest { failure, ..Default::default() };
    all_refused(
        Code::InvalidArgument,
        [
            (range(s, RangeRequest::default()).await, no_key),
            (range(s, RangeRequest { range_end: "\0".into(), ..Default::default() }).await, no_key),
            (write(s, PutRequest::default()).await, no_key),
            (s.kv().delete_range(DeleteRangeRequest::default()).await.map(drop), no_key),
            (txn(s, TxnRequest { compare: vec![Compare::default()], ..Default::default() }).await, no_key),
            (only(s, Request::RequestRange(RangeRequest::default())).await, no_key),
            (only(s, Request::RequestPut(PutRequest::default())).await, no_key),
            (only(s, Request::RequestDeleteRange(DeleteRangeRequest::default())).await, no_key),
            (write(s, no_value.clone()).await, "key not found"),
            (write(s, no_lease).await, "key not found"),
            (only(s, Request::RequestPut(no_value)).await, "key not found"),
            (txn(s, success(vec![nothing()])).await, "key not found"),
            (txn(s, failure(vec![nothing()])).await, "key not found"),
            (only(s, Request::RequestTxn(inner)).await, "key not found"),
            (write(s, value.clone()).await, "value is provided"),
            (only(s, Request::RequestPut(value)).await, "value is provided"),
            (write(s, lease.clone()).await, "lease is provided"),
            (only(s, Request::RequestPut(lease)).await, "lease is provided"),
            (range(s, order.clone()).await, "invalid sort option"),
            (range(s, target).await, "invalid sort option"),
            (only(s, Request::RequestRange(order)).await, "invalid sort option"),
            (txn(s, success(twice.clone())).await, "duplicate key given in txn request"),
            (txn(s, failure(twice)).await, "duplicate key given in txn request"),
            (txn(s, success(many.clone())).await, "too many operations in txn request"),
            (txn(s, failure(many)).await, "too many operations in txn request"),
            (s.cluster().member_add(MemberAddRequest::default()).await.map(drop), "given member URLs are invalid"),
            (
                s.cluster().member_update(MemberUpdateRequest::default()).await.map(drop),
                "given member URLs are invalid",
            ),
        ],
    );
    Ok(())
}

#[tokio::test]
async fn revisions_and_times_have_bounds() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let s = &server;
    for value in ["1", "2", "3"] {
        write(s, put("a", value)).await?;
    }
    let compact = |revision| {
        let mut kv = s.kv();
        async move { kv.compact(CompactionRequest { revision, physical: false }).await.map(drop) }
    };
    let hash = |revision| {
        let mut maintenance = s.maintenance();
        async move { maintenance.hash_kv(HashKvRequest { revision }).await.map(drop) }
    };
    compact(3).await?;
    let at = |revision| RangeRequest { revision, ..get("a") };
    let (gone, early) = ("mvcc: required revision has been compacted", "mvcc: required revision is a future revision");
    all_refused(
        Code::OutOfRange,
        [
            (range(s, at(2)).await, gone),
            (only(s, Request::RequestRange(at(2))).await, gone),
            (compact(3).await, gone),
            (compact(-1).await, gone),
            (hash(2).await, gone),
            (range(s, at(5)).await, early),
            (only(s, Request::RequestRange(at(5))).await, early),
            (compact(5).await, early),
            (hash(5).await, early),
            (
                s.lease().lease_grant(LeaseGrantRequest { ttl: 9_000_000_001, id: 0 }).await.map(drop),
                "too large lease TTL",
            ),
        ],
    );
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_not_found() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let s = &server;
    let leased = PutRequest { lease: 7, ..put("a", "1") };
    let known = MemberUpdateRequest { id: 1, peer_ur_ls: vec!["http://10.0.0.2:2380".into()] };
    all_refused(
        Code::NotFound,
        [
            (write(s, leased.clone()).await, "requested lease not found"),
            (only(s, Request::RequestPut(leased)).await, "requested lease not found"),
            (s.lease().lease_revoke(LeaseRevokeRequest { id: 7 }).await.map(drop), "requested lease not found"),
            (s.cluster().member_remove(MemberRemoveRequest { id: 1 }).await.map(drop), "member not found"),
            (s.cluster().member_update(known).await.map(drop), "member not found"),
            (s.cluster().member_promote(MemberPromoteRequest { id: 1 }).await.map(drop), "member not found"),
        ],
    );
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_now_is_a_failed_precondition() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let s = &server;
    let own = id(s).await?;
    let add = MemberAddRequest { peer_ur_ls: vec!["http://10.0.0.2:2380".into()], is_learner: true };
    let update = MemberUpdateRequest { id: own, peer_ur_ls: add.peer_ur_ls.clone() };
    let grant = LeaseGrantRequest { ttl: 60, id: 7 };
    s.lease().lease_grant(grant).await?;
    all_refused(
        Code::FailedPrecondition,
        [
            (s.lease().lease_grant(grant).await.map(drop), "lease already exists"),
            (s.cluster().member_add(add).await.map(drop), "not capable"),
            (s.cluster().member_remove(MemberRemoveRequest { id: own }).await.map(drop), "not capable"),
            (s.cluster().member_update(update).await.map(drop), "not capable"),
            (
                s.cluster().member_promote(MemberPromoteRequest { id: own }).await.map(drop),
                "can only promote a learner member",
            ),
            (s.maintenance().move_leader(MoveLeaderRequest { target_id: 1 }).await.map(drop), "bad leader transferee"),
        ],
    );
    Ok(())
}

/// Waits for a metric's value.
pub(crate) async fn until(server: &TestServer, line: &str) -> anyhow::Result<()> {
    let seen = async {
        while !ask(server, "GET", "/metrics").await?.1.lines().any(|found| found == line) {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, seen).await?
}

/// Nobody is left waiting by a server that stops: neither a write that finds no quorum nor a watch.
#[tokio::test]
async fn a_server_that_stops_says_so() -> anyhow::Result<()> {
    let (own, absent) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let cluster = format!("--initial-cluster=a=http://{},b=http://{}", own.local_addr()?, absent.local_addr()?);
    let first = TestServer::member(&["--name=a", &cluster], own).await?;
    let second = TestServer::member(&["--name=b", &cluster], absent).await?;
    write(&first, put("a", "1")).await?;
    let create = RequestUnion::CreateRequest(WatchCreateRequest { key: "a".into(), ..Default::default() });
    let create = WatchRequest { request_union: Some(create) };
    let requests = tokio_stream::StreamExt::chain(tokio_stream::iter([create]), tokio_stream::pending());
    let mut events = first.watch().watch(requests).await?.into_inner();
    assert!(events.message().await?.is_some_and(|created| created.created));
    second.end().await?;
    // Who knows no leader proposes nothing, and waits for one.
    until(&first, "etcd_server_has_leader 0").await?;
    let mut kv = first.kv();
    let waiting = tokio::spawn(async move { kv.put(put("a", "2")).await.map(drop) });
    until(&first, "etcd_server_proposals_pending 1").await?;

    let stopping = tokio::spawn(first.end());
    let stopped = refused(timeout(PATIENCE, waiting).await??);
    assert_eq!(stopped, (Code::Unavailable, "etcdserver: server stopped".to_owned()));
    let ended = refused(timeout(PATIENCE, events.message()).await?);
    assert_eq!(ended, stopped);
    stopping.await??;
    Ok(())
}

/// A put whose message has exactly so many bytes.
fn of_size(bytes: usize) -> PutRequest {
    let sized = |value: usize| PutRequest { value: vec![b'x'; value].into(), ..put("a", "") };
    let fitting = (bytes - 16..bytes).map(sized).find(|put| put.encoded_len() == bytes);
    fitting.expect("the value's length takes less than 16 bytes")
}

/// §1.1, §1.5: what is proposed may have `max-request-bytes`, the message 512 KiB more; each limit has its words.
#[tokio::test]
async fn large_requests_are_refused() -> anyhow::Result<()> {
    for (flag, request) in [(None, 3 << 19), (Some("--max-request-bytes=10000"), 10_000)] {
        let server = TestServer::start_with(flag.as_slice()).await?;
        let message = request + (512 << 10);
        // Around the request in the log there is a little more.
        write(&server, of_size(request - 1_000)).await?;
        let too_large = (Code::InvalidArgument, "etcdserver: request is too large".to_owned());
        assert_eq!(refused(write(&server, of_size(request + 1)).await), too_large);
        assert_eq!(refused(write(&server, of_size(message)).await), too_large);
        for more in [1, 1 << 20] {
            let (found, most) = (message + more, message);
            let text = format!("grpc: received message larger than max ({found} vs. {most})");
            assert_eq!(refused(write(&server, of_size(found)).await), (Code::ResourceExhausted, text));
        }
    }
    Ok(())
}

/// §1.1: "replies far above 4 MiB are normal".
#[tokio::test]
async fn large_answers_arrive() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for n in 0..6 {
        let value = vec![b'x'; 1 << 20];
        server
            .kv()
            .put(PutRequest { key: format!("big/{n}").into(), value: value.into(), ..Default::default() })
            .await?;
    }
    let all = RangeRequest { key: "big/".into(), range_end: "big0".into(), ..Default::default() };
    assert_eq!(server.kv().range(all).await?.into_inner().kvs.len(), 6);
    Ok(())
}
