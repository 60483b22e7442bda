use holdfast_proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};
use tonic::Code;

use crate::kv::{get, put};
use crate::support::TestServer;

#[tokio::test]
async fn bad_requests_have_etcds_words() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut kv = server.kv();
    let empty = kv.put(PutRequest::default()).await.unwrap_err();
    assert_eq!((empty.code(), empty.message()), (Code::InvalidArgument, "etcdserver: key is not provided"));
    let missing = kv.put(PutRequest { ignore_value: true, ..put("a", "") }).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::InvalidArgument, "etcdserver: key not found"));
    let value = kv.put(PutRequest { ignore_value: true, ..put("a", "1") }).await.unwrap_err();
    assert_eq!(value.message(), "etcdserver: value is provided");
    let lease = kv.put(PutRequest { ignore_lease: true, lease: 7, ..put("a", "1") }).await.unwrap_err();
    assert_eq!(lease.message(), "etcdserver: lease is provided");
    let unknown = kv.put(PutRequest { lease: 7, ..put("a", "1") }).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::NotFound, "etcdserver: requested lease not found"));
    let sort = kv.range(RangeRequest { sort_target: 9, ..get("a") }).await.unwrap_err();
    assert_eq!(sort.message(), "etcdserver: invalid sort option");
    let op = TxnRequest { success: vec![RequestOp { request: None }], ..Default::default() };
    assert_eq!(kv.txn(op).await.unwrap_err().message(), "etcdserver: key not found");
    Ok(())
}

#[tokio::test]
async fn large_requests_are_refused() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let of = |bytes: usize| PutRequest { key: "a".into(), value: vec![b'x'; bytes].into(), ..Default::default() };
    server.kv().put(of(1 << 20)).await?;
    let error = server.kv().put(of((3 << 19) + 1)).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "etcdserver: request is too large"));
    let error = server.kv().put(of(3 << 20)).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.message().starts_with("grpc: received message larger than max (31457"), "{error}");
    Ok(())
}

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

/// §1.1: what a client says of itself must be text.
#[tokio::test]
async fn a_clients_version_is_text() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let saying = |version: &[u8]| {
        let mut request = tonic::Request::new(get("a"));
        request.metadata_mut().insert("client-api-version", version.try_into()?);
        anyhow::Ok(request)
    };
    server.kv().range(saying(b"3.4")?).await?;
    let refused = server.kv().range(saying(b"3.\xff")?).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), "etcdserver: invalid client api version");
    Ok(())
}
