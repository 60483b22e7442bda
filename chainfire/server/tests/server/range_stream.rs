//! `RangeStream` (§2.2): a range in parts.

use holdfast_proto::etcdserverpb::{
    CompactionRequest, RangeRequest, RangeResponse,
    range_request::{SortOrder, SortTarget},
};
use tonic::{Code, Status};

use crate::{
    doors::Suite,
    kv::{get, put, range},
    support::TestServer,
};

async fn parts(server: &TestServer, request: RangeRequest) -> Result<Vec<RangeResponse>, Status> {
    let mut stream = server.kv().range_stream(request).await?.into_inner();
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await? {
        parts.extend(part.range_response);
    }
    Ok(parts)
}

fn merged(parts: &[RangeResponse]) -> RangeResponse {
    let last = parts.last().cloned().unwrap_or_default();
    RangeResponse { kvs: parts.iter().flat_map(|part| part.kvs.clone()).collect(), ..last }
}

fn sizes(parts: &[RangeResponse]) -> Vec<usize> {
    parts.iter().map(|part| part.kvs.len()).collect()
}

async fn with_keys(count: usize, bytes: usize) -> anyhow::Result<TestServer> {
    let server = TestServer::start().await?;
    for n in 0..count {
        server.kv().put(put(&format!("k/{n:03}"), &"x".repeat(bytes))).await?;
    }
    Ok(server)
}

fn all() -> RangeRequest {
    range(b"k/", b"k0")
}

/// "first chunk limited to 10 keys then adaptively doubled"; "header/more/count only in the last chunk"; "`proto.Merge`
/// of all chunks = the unary answer".
#[tokio::test]
async fn parts_make_up_the_whole_answer() -> anyhow::Result<()> {
    let server = with_keys(45, 1).await?;
    let whole = parts(&server, all()).await?;
    assert_eq!(sizes(&whole), [10, 20, 15]);
    assert!(whole[..2].iter().all(|part| part.header.is_none() && !part.more && part.count == 0));
    for request in [
        all(),
        RangeRequest { limit: 12, ..all() },
        RangeRequest { limit: 10, ..all() },
        RangeRequest { limit: 45, ..all() },
        RangeRequest { limit: -1, revision: 5, ..all() },
        RangeRequest { count_only: true, ..all() },
        RangeRequest { keys_only: true, serializable: true, ..all() },
        RangeRequest { sort_order: SortOrder::Ascend.into(), ..all() },
        get("k/000"),
        get("nobody"),
        range(b"k0", b"k/"),
        range(b"\0", b"\0"),
    ] {
        let unary = server.kv().range(request.clone()).await?.into_inner();
        assert_eq!(merged(&parts(&server, request.clone()).await?), unary, "{request:?}");
    }
    assert_eq!(parts(&server, RangeRequest { count_only: true, ..all() }).await?.len(), 1);
    // Without an order there is nothing to sort, whatever the target.
    let by_value = RangeRequest { sort_target: SortTarget::Value.into(), limit: 1, ..all() };
    assert_eq!(merged(&parts(&server, by_value).await?).kvs[0].key, "k/000");
    Ok(())
}

/// "…around max-request-bytes": no part is much larger, so that memory stays flat.
#[tokio::test]
async fn parts_have_about_the_size_of_the_largest_request() -> anyhow::Result<()> {
    let server = with_keys(40, 400_000).await?;
    let parts = parts(&server, all()).await?;
    let largest = parts.iter().map(|part| part.kvs.iter().map(|kv| kv.value.len()).sum::<usize>()).max();
    assert!(largest.is_some_and(|largest| largest < (3 << 19) + 400_000), "{:?}", sizes(&parts));
    assert_eq!(merged(&parts).kvs.len(), 40);
    Ok(())
}

/// "pinned to the first chunk's revision".
#[tokio::test]
async fn parts_are_of_one_revision() -> anyhow::Result<()> {
    let server = with_keys(60, 100_000).await?;
    let mut stream = server.kv().range_stream(all()).await?.into_inner();
    let mut parts: Vec<RangeResponse> =
        stream.message().await?.and_then(|part| part.range_response).into_iter().collect();
    let before = server.kv().range(get("k/000")).await?.into_inner().header.unwrap_or_default().revision;
    for n in 0..60 {
        server.kv().put(put(&format!("k/{n:03}"), "new")).await?;
    }
    server.kv().put(put("k/999", "new")).await?;
    while let Some(part) = stream.message().await? {
        parts.extend(part.range_response);
    }
    let whole = merged(&parts);
    assert_eq!((whole.kvs.len(), whole.count), (60, 60));
    assert!(whole.kvs.iter().all(|kv| kv.value.len() == 100_000));
    assert_eq!(whole.header.unwrap_or_default().revision, before);
    Ok(())
}

/// "no custom sort, no revision filters"; the words of §1.5.
#[tokio::test]
async fn what_cannot_be_streamed_is_unimplemented() -> anyhow::Result<()> {
    let server = with_keys(3, 1).await?;
    let sort = "RangeStream does not support custom sort orders";
    let filter = "RangeStream does not support revision filters";
    let descending = RangeRequest { sort_order: SortOrder::Descend.into(), ..all() };
    let by_version =
        RangeRequest { sort_order: SortOrder::Ascend.into(), sort_target: SortTarget::Version.into(), ..all() };
    let cases = [
        (RangeRequest::default(), Code::InvalidArgument, "etcdserver: key is not provided"),
        (RangeRequest { sort_target: 9, ..all() }, Code::InvalidArgument, "etcdserver: invalid sort option"),
        (descending.clone(), Code::Unimplemented, sort),
        (by_version, Code::Unimplemented, sort),
        (RangeRequest { min_mod_revision: 1, ..descending }, Code::Unimplemented, sort),
        (RangeRequest { min_mod_revision: 1, ..all() }, Code::Unimplemented, filter),
        (RangeRequest { max_mod_revision: 1, ..all() }, Code::Unimplemented, filter),
        (RangeRequest { min_create_revision: 1, ..all() }, Code::Unimplemented, filter),
        (RangeRequest { max_create_revision: 1, ..all() }, Code::Unimplemented, filter),
        (
            RangeRequest { revision: 99, ..all() },
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
    ];
    for (request, code, message) in cases {
        let refused = parts(&server, request.clone()).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message), "{request:?}");
    }
    server.kv().compact(CompactionRequest { revision: 4, physical: false }).await?;
    let compacted = parts(&server, RangeRequest { revision: 3, ..all() }).await.unwrap_err();
    assert_eq!(compacted.message(), "etcdserver: mvcc: required revision has been compacted");
    Ok(())
}

#[tokio::test]
async fn a_stream_takes_the_right_to_the_whole_range() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    suite.kv().range_stream(range(b"own/", b"own0")).await?;
    let denied = suite.kv().range_stream(range(b"a", b"z")).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    suite.end().await;
    Ok(())
}
