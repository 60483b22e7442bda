//! §2.4: transactions on the wire. What they do is tested in `chainfire-core`; what cannot be meant is in `errors`.

use holdfast_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, StatusRequest, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
    response_op::Response,
};
use tonic::Code;

use crate::kv::{get, put};
use crate::support::TestServer;

pub(crate) fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn puts(key: &str, value: &str) -> RequestOp {
    op(Request::RequestPut(put(key, value)))
}

fn gets(key: &str) -> RequestOp {
    op(Request::RequestRange(get(key)))
}

fn deletes(key: &str) -> RequestOp {
    op(Request::RequestDeleteRange(DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() }))
}

fn is(key: &str, target: CompareTarget, operand: TargetUnion) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.to_owned().into(),
        target_union: Some(operand),
        ..Default::default()
    }
}

#[tokio::test]
async fn create_if_absent_happens_once() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let create = TxnRequest {
        compare: vec![is("a", CompareTarget::Mod, TargetUnion::ModRevision(0))],
        success: vec![puts("a", "1")],
        failure: vec![gets("a")],
    };
    let first = server.kv().txn(create.clone()).await?.into_inner();
    assert!(first.succeeded);
    let second = server.kv().txn(create).await?.into_inner();
    assert!(!second.succeeded);
    let Some(Response::ResponseRange(range)) = second.responses.into_iter().find_map(|op| op.response) else {
        anyhow::bail!("no range in the answer");
    };
    assert_eq!(range.count, 1);
    // Inside a transaction a header has nothing but the revision.
    let header = range.header.unwrap_or_default();
    assert_eq!((header.revision, header.cluster_id, header.raft_term), (2, 0, 0));
    Ok(())
}

#[tokio::test]
async fn operations_share_a_revision_and_see_each_other() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let request = TxnRequest { success: vec![puts("a", "1"), gets("a"), puts("b", "2")], ..Default::default() };
    let answer = server.kv().txn(request).await?.into_inner();
    assert_eq!(answer.header.unwrap_or_default().revision, 2);
    let revisions: Vec<i64> = answer
        .responses
        .into_iter()
        .filter_map(|op| match op.response? {
            Response::ResponseRange(range) => range.kvs.first().map(|kv| kv.mod_revision),
            Response::ResponsePut(put) => put.header.map(|header| header.revision),
            Response::ResponseDeleteRange(_) | Response::ResponseTxn(_) => None,
        })
        .collect();
    assert_eq!(revisions, [2, 2, 2]);
    Ok(())
}

/// §2.4: a nested transaction has an empty header; its operations have theirs.
#[tokio::test]
async fn a_nested_transaction_has_an_empty_header() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let inner = TxnRequest { success: vec![puts("a", "1")], ..Default::default() };
    let request = TxnRequest { success: vec![op(Request::RequestTxn(inner))], ..Default::default() };
    let answer = server.kv().txn(request).await?.into_inner();
    let Some(Response::ResponseTxn(inner)) = answer.responses.into_iter().find_map(|op| op.response) else {
        anyhow::bail!("no transaction in the answer");
    };
    assert_eq!(inner.header, Some(Default::default()));
    let Some(Response::ResponsePut(put)) = inner.responses.into_iter().find_map(|op| op.response) else {
        anyhow::bail!("no put in the answer");
    };
    assert_eq!(put.header.unwrap_or_default().revision, 2);
    Ok(())
}

#[tokio::test]
async fn a_value_compare_on_a_missing_key_never_holds() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let request = TxnRequest {
        compare: vec![is("nobody", CompareTarget::Value, TargetUnion::Value("".into()))],
        ..Default::default()
    };
    let answer = server.kv().txn(request).await?.into_inner();
    assert!(!answer.succeeded);
    assert_eq!(answer.header.unwrap_or_default().revision, 1);
    Ok(())
}

#[tokio::test]
async fn a_branch_writes_a_key_once() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut kv = server.kv();
    for bad in [vec![puts("a", "1"), puts("a", "2")], vec![puts("a", "1"), deletes("a")]] {
        let error = kv.txn(TxnRequest { success: bad, ..Default::default() }).await.unwrap_err();
        assert_eq!(error.message(), "etcdserver: duplicate key given in txn request");
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    let twice = TxnRequest { success: vec![deletes("a"), deletes("a")], ..Default::default() };
    kv.txn(twice).await?;
    let branches = TxnRequest { success: vec![puts("a", "1")], failure: vec![puts("a", "2")], ..Default::default() };
    kv.txn(branches).await?;
    Ok(())
}

#[tokio::test]
async fn a_failing_operation_undoes_the_whole() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let lost = PutRequest { lease: 12345, ..put("b", "2") };
    let request = TxnRequest { success: vec![puts("a", "1"), op(Request::RequestPut(lost))], ..Default::default() };
    let error = server.kv().txn(request).await.unwrap_err();
    assert_eq!(error.message(), "etcdserver: requested lease not found");
    let found = server.kv().range(get("a")).await?.into_inner();
    assert_eq!((found.count, found.header.unwrap_or_default().revision), (0, 1));
    Ok(())
}

#[tokio::test]
async fn nested_transactions_share_the_budget() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let many = |count: usize| (0..count).map(|n| puts(&format!("k{n}"), "v")).collect::<Vec<_>>();
    let nested = |count: usize| TxnRequest {
        success: vec![op(Request::RequestTxn(TxnRequest { success: many(count), ..Default::default() }))],
        ..Default::default()
    };
    server.kv().txn(nested(127)).await?;
    let error = server.kv().txn(nested(128)).await.unwrap_err();
    assert_eq!(error.message(), "etcdserver: too many operations in txn request");
    Ok(())
}

/// Two more of "≤128 (`--max-txn-ops`) of compare/success/failure each".
#[tokio::test]
async fn each_list_may_have_128_entries() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let lists = |count: usize| TxnRequest {
        compare: vec![is("a", CompareTarget::Version, TargetUnion::Version(0)); count],
        success: vec![gets("a"); count],
        failure: vec![gets("a"); count],
    };
    server.kv().txn(lists(128)).await?;
    for more in [
        TxnRequest { compare: lists(129).compare, ..Default::default() },
        TxnRequest { success: lists(129).success, ..Default::default() },
        TxnRequest { failure: lists(129).failure, ..Default::default() },
    ] {
        let refused = server.kv().txn(more).await.unwrap_err();
        assert_eq!(refused.message(), "etcdserver: too many operations in txn request");
    }
    Ok(())
}

/// "Validation before raft" and "Read-only txn … goes the read path": neither is an entry of the log.
#[tokio::test]
async fn what_is_refused_or_only_reads_is_not_logged() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("a", "1")).await?;
    let index = || async {
        let status = server.maintenance().status(StatusRequest {}).await?.into_inner();
        anyhow::Ok(status.raft_index)
    };
    let success = |success: Vec<RequestOp>| TxnRequest { success, ..Default::default() };
    // What follows the first write is done with after a while.
    let mut before = 0;
    while before != index().await? {
        before = index().await?;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    for bad in [
        success(vec![puts("a", "1"), puts("a", "2")]),
        success(vec![puts("", "1")]),
        success(vec![puts("a", "1"), op(Request::RequestRange(RangeRequest::default()))]),
        success(vec![puts("a", "1"), RequestOp { request: None }]),
        success((0..129).map(|n| puts(&format!("k{n}"), "v")).collect()),
    ] {
        assert_eq!(server.kv().txn(bad).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let compare = vec![is("a", CompareTarget::Version, TargetUnion::Version(1))];
    let reading = TxnRequest { compare, ..success(vec![gets("a"), gets("b")]) };
    assert!(server.kv().txn(reading.clone()).await?.into_inner().succeeded);
    assert_eq!(index().await?, before);
    // "nested txns count as writes".
    server.kv().txn(success(vec![op(Request::RequestTxn(reading))])).await?;
    assert_eq!(index().await?, before + 1);
    Ok(())
}

#[tokio::test]
async fn an_answer_without_bounds_is_refused_and_the_server_goes_on() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("big", &"x".repeat(5 << 18))).await?;
    let success = [vec![puts("a", "1")], vec![gets("big"); 127]].concat();
    let refused = server.kv().txn(TxnRequest { success, ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.message(), "etcdserver: the answer is too large; ask for less at a time");
    assert_eq!(server.kv().range(get("a")).await?.into_inner().count, 0);
    Ok(())
}
