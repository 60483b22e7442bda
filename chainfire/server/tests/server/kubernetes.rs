//! §2.11: what Kubernetes asks of its store, and nothing else.

use std::time::Duration;

use holdfast_proto::{
    etcdserverpb::{
        CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, StatusRequest,
        TxnRequest, TxnResponse, WatchCreateRequest, WatchProgressRequest, WatchResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
        response_op::Response,
        watch_request::RequestUnion,
    },
    mvccpb::{KeyValue, event::EventType},
};
use tokio::time::sleep;
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    kv::{get, keys, put, range},
    support::TestServer,
    txn::op,
    watch::{Stream, prefix},
};

fn only_if(target: CompareTarget, key: &str, operand: TargetUnion) -> Vec<Compare> {
    let (result, key) = (CompareResult::Equal.into(), key.to_owned().into());
    vec![Compare { result, target: target.into(), key, target_union: Some(operand), ..Compare::default() }]
}

/// As the object is at `revision`; 0 means that there is none.
fn at(key: &str, revision: i64) -> Vec<Compare> {
    only_if(CompareTarget::Mod, key, TargetUnion::ModRevision(revision))
}

fn create(key: &str, value: &str) -> TxnRequest {
    TxnRequest { compare: at(key, 0), success: vec![op(Request::RequestPut(put(key, value)))], failure: Vec::new() }
}

fn update(key: &str, revision: i64, value: &str) -> TxnRequest {
    TxnRequest { compare: at(key, revision), failure: vec![op(Request::RequestRange(get(key)))], ..create(key, value) }
}

fn delete(key: &str, revision: i64) -> TxnRequest {
    let request = DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
    TxnRequest { success: vec![op(Request::RequestDeleteRange(request))], ..update(key, revision, "") }
}

async fn txn(server: &TestServer, request: TxnRequest) -> Result<TxnResponse, Status> {
    Ok(server.kv().txn(request).await?.into_inner())
}

fn revision(answer: &TxnResponse) -> i64 {
    answer.header.as_ref().map_or(0, |header| header.revision)
}

/// What the failed branch has found.
fn found(answer: &TxnResponse) -> Option<&KeyValue> {
    match answer.responses.first()?.response.as_ref()? {
        Response::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

/// "create = if mod==0 then put; update = if mod==R then put else get; delete = if mod==R then delete else get".
#[tokio::test]
async fn objects_are_changed_as_they_were_seen_or_not_at_all() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let key = "/registry/pods/a";
    let created = txn(&server, create(key, "1")).await?;
    assert_eq!((created.succeeded, revision(&created)), (true, 2));
    let again = txn(&server, create(key, "2")).await?;
    assert_eq!((again.succeeded, again.responses.len(), revision(&again)), (false, 0, 2));

    let updated = txn(&server, update(key, 2, "2")).await?;
    assert_eq!((updated.succeeded, revision(&updated)), (true, 3));
    for late in [update(key, 2, "3"), delete(key, 2)] {
        let late = txn(&server, late).await?;
        let kv = found(&late).map(|kv| (kv.mod_revision, kv.value.clone()));
        assert_eq!((late.succeeded, revision(&late), kv), (false, 3, Some((3, "2".into()))));
    }
    let deleted = txn(&server, delete(key, 3)).await?;
    assert_eq!((deleted.succeeded, revision(&deleted)), (true, 4));
    let gone = txn(&server, delete(key, 3)).await?;
    assert_eq!((gone.succeeded, found(&gone), revision(&gone)), (false, None, 4));

    // "or unconditional get+delete".
    txn(&server, create(key, "4")).await?;
    let request = DeleteRangeRequest { key: key.into(), ..Default::default() };
    let success = vec![op(Request::RequestRange(get(key))), op(Request::RequestDeleteRange(request))];
    let both = txn(&server, TxnRequest { success, ..TxnRequest::default() }).await?;
    assert_eq!((both.succeeded, found(&both).map(|kv| kv.value.clone())), (true, Some("4".into())));
    assert_eq!(server.kv().range(get(key)).await?.into_inner().count, 0);
    Ok(())
}

/// "compaction record = if VERSION(compact_rev_key)==N then put else get": of several servers one compacts.
#[tokio::test]
async fn one_of_several_records_the_compaction() -> anyhow::Result<()> {
    const RECORD: &str = "compact_rev_key";
    let server = TestServer::start().await?;
    for _ in 0..3 {
        server.kv().put(put("/registry/a", "v")).await?;
    }
    let record = |version, revision: &str| {
        let compare = only_if(CompareTarget::Version, RECORD, TargetUnion::Version(version));
        TxnRequest { compare, ..update(RECORD, 0, revision) }
    };
    assert!(txn(&server, record(0, "1")).await?.succeeded);
    let lost = txn(&server, record(0, "1")).await?;
    assert_eq!((lost.succeeded, found(&lost).map(|kv| (kv.version, kv.value.clone()))), (false, Some((1, "1".into()))));
    assert!(txn(&server, record(1, "4")).await?.succeeded);
    server.kv().compact(CompactionRequest { revision: 4, physical: false }).await?;
    let past = server.kv().range(RangeRequest { revision: 3, ..get("/registry/a") }).await.unwrap_err();
    assert_eq!(
        (past.code(), past.message()),
        (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
    );
    Ok(())
}

/// "prefix list with limit + continue key + pinned rev, count_only".
#[tokio::test]
async fn a_list_in_pages_is_of_one_revision() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for name in ["a", "b", "c", "d", "e"] {
        server.kv().put(put(&format!("/registry/pods/{name}"), "v")).await?;
    }
    let all = || range(b"/registry/pods/", b"/registry/pods0");
    let mut page = server.kv().range(RangeRequest { limit: 2, ..all() }).await?.into_inner();
    let pinned = page.header.unwrap_or_default().revision;
    assert_eq!((pinned, page.count, page.more), (6, 5, true));
    let mut listed = keys(&page);
    let mut left = Vec::new();
    while page.more {
        server.kv().put(put(&format!("/registry/pods/{}x", listed.len()), "v")).await?;
        let last = listed.last().cloned().unwrap_or_default();
        let next = RangeRequest { key: format!("{last}\0").into(), limit: 2, revision: pinned, ..all() };
        page = server.kv().range(next).await?.into_inner();
        left.push(page.count);
        listed.extend(keys(&page));
    }
    assert_eq!(listed, ["a", "b", "c", "d", "e"].map(|name| format!("/registry/pods/{name}")));
    assert_eq!(left, [3, 1], "what remains is told, and is of that revision");
    let counted = server.kv().range(RangeRequest { count_only: true, ..all() }).await?.into_inner();
    assert_eq!((counted.count, counted.kvs.len()), (7, 0));
    Ok(())
}

async fn next(stream: &mut Stream) -> anyhow::Result<WatchResponse> {
    // An apiserver asks for progress every 100 ms; answers come between events.
    loop {
        let response = stream.next().await?;
        if !response.events.is_empty() {
            return Ok(response);
        }
    }
}

/// "Watch prefix with prev_kv, progress_notify, `hasleader`; RequestProgress as often as every 100 ms".
#[tokio::test]
async fn a_cache_follows_from_its_list_on() -> anyhow::Result<()> {
    let server = TestServer::start_with(&["--watch-progress-notify-interval=5s"]).await?;
    let key = "/registry/pods/a";
    txn(&server, create(key, "1")).await?;
    let list = server.kv().range(range(b"/registry/pods/", b"/registry/pods0")).await?.into_inner();
    let start_revision = list.header.unwrap_or_default().revision + 1;
    let mut metadata = MetadataMap::new();
    metadata.insert("hasleader", "true".parse()?);
    let mut stream = Stream::open_with(&server, metadata).await?;
    let watch = prefix("/registry/pods/", "/registry/pods0");
    stream.created(WatchCreateRequest { start_revision, prev_kv: true, progress_notify: true, ..watch }).await?;

    txn(&server, update(key, 2, "2")).await?;
    txn(&server, delete(key, 3)).await?;
    txn(&server, create(key, "3")).await?;
    for _ in 0..5 {
        stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
        sleep(Duration::from_millis(100)).await;
    }
    for (kind, created, old) in
        [(EventType::Put, false, Some("1")), (EventType::Delete, false, Some("2")), (EventType::Put, true, None)]
    {
        let response = next(&mut stream).await?;
        let [event] = response.events.as_slice() else { anyhow::bail!("{response:?}") };
        let kv = event.kv.clone().unwrap_or_default();
        let prev_kv = event.prev_kv.as_ref().map(|kv| kv.value.clone());
        let is_create = event.r#type() == EventType::Put && kv.create_revision == kv.mod_revision;
        assert_eq!((event.r#type(), is_create, prev_kv), (kind, created, old.map(Into::into)));
    }
    // Somebody else's write is progress, too.
    server.kv().put(put("/registry/nodes/n", "v")).await?;
    stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    loop {
        let progress = stream.next().await?;
        assert_eq!(progress.events, []);
        if progress.watch_id == -1 && progress.header.unwrap_or_default().revision == 6 {
            return Ok(());
        }
    }
}

/// "Put/LeaseGrant for event TTL": many objects share one lease, which nobody keeps alive.
#[tokio::test]
async fn events_live_as_long_as_their_lease() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let lease = server.lease().lease_grant(LeaseGrantRequest { ttl: 2, id: 0 }).await?.into_inner().id;
    for n in 0..3 {
        let event = PutRequest { lease, ..put(&format!("/registry/events/{n}"), "v") };
        let created = TxnRequest { success: vec![op(Request::RequestPut(event))], ..create("/registry/events/", "") };
        assert!(txn(&server, created).await?.succeeded);
    }
    let events = || range(b"/registry/events/", b"/registry/events0");
    assert_eq!(server.kv().range(events()).await?.into_inner().count, 3);
    let gone = async {
        while server.kv().range(events()).await?.into_inner().count > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        Ok::<_, Status>(())
    };
    tokio::time::timeout(crate::three::PATIENCE, gone).await??;
    Ok(())
}

/// "Status (version gate + db size metrics)"; "RangeStream from 1.37 with fallback".
#[tokio::test]
async fn what_is_there_is_told_and_what_is_not_is_unimplemented() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("/registry/a", "v")).await?;
    let status = server.maintenance().status(StatusRequest {}).await?.into_inner();
    assert!(status.version.starts_with("3.6.") && status.db_size > 0, "{status:?}");
    let streamed = server.kv().range_stream(get("/registry/a")).await?.into_inner().message().await?;
    let streamed = streamed.and_then(|part| part.range_response).unwrap_or_default();
    assert_eq!(streamed, server.kv().range(get("/registry/a")).await?.into_inner());

    let older = TestServer::start_with(&["--emulate-version=3.4.23"]).await?;
    let refused = older.kv().range_stream(get("/registry/a")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_eq!(older.kv().range(get("/registry/a")).await?.into_inner().count, 0);
    Ok(())
}
