//! §2.6, §2.10: watchers are refused one by one, in order, and end with the right to what they watch.

use holdfast_proto::{
    authpb::permission::Type,
    etcdserverpb::{
        AuthRoleRevokePermissionRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
    },
};
use tonic::Streaming;

use super::{denied, from, guarded, refused};
use crate::{kv::put, support::TestServer};

fn create(key: &'static str, range_end: &'static str) -> WatchRequest {
    let create = WatchCreateRequest { key: key.into(), range_end: range_end.into(), ..Default::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

async fn watch(
    server: &TestServer,
    token: &str,
    requests: Vec<WatchRequest>,
) -> anyhow::Result<Streaming<WatchResponse>> {
    let requests = tokio_stream::StreamExt::chain(tokio_stream::iter(requests), tokio_stream::pending());
    Ok(server.watch().watch(from(token, requests)).await?.into_inner())
}

async fn reason(answers: &mut Streaming<WatchResponse>) -> anyhow::Result<String> {
    let refused = answers.message().await?.unwrap_or_default();
    assert_eq!((refused.created, refused.canceled, refused.watch_id), (true, true, -1));
    Ok(refused.cancel_reason)
}

#[tokio::test]
async fn a_watcher_out_of_reach_is_refused_and_the_stream_goes_on() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    // The empty key is the smallest one, and with it the range reaches over all others.
    let requests = vec![create("", "\0"), create("r/", "\0"), create("w/k", ""), create("r/", "r0")];
    let mut answers = watch(&server, &mira, requests).await?;
    for _ in 0..3 {
        let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        assert_eq!(reason(&mut answers).await?, denied);
    }
    let created = answers.message().await?.unwrap_or_default();
    assert_eq!((created.created, created.canceled, created.watch_id), (true, false, 0));
    server.kv().put(from(&root, put("r/k", "v"))).await?;
    assert_eq!(answers.message().await?.unwrap_or_default().events.len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_reason_is_the_refusal_that_clients_know() -> anyhow::Result<()> {
    let (server, ..) = guarded().await?;
    let known = [
        ("", "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"),
        ("abc.1", "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"),
    ];
    for (token, says) in known {
        let mut answers = watch(&server, token, vec![create("r/", "r0")]).await?;
        assert_eq!(reason(&mut answers).await?, says);
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_what_it_watches() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    let mut answers = watch(&server, &mira, vec![create("r/", "r0")]).await?;
    assert!(!answers.message().await?.unwrap_or_default().canceled);
    // Another change than one of this right leaves it alone.
    server.grant(&root, "mira", Type::Read, "x", "").await?;
    server.kv().put(from(&root, put("r/k", "v"))).await?;
    assert_eq!(answers.message().await?.unwrap_or_default().events.len(), 1);
    let revoke = AuthRoleRevokePermissionRequest { role: "mira".into(), key: "r/".into(), range_end: "r0".into() };
    server.auth().role_revoke_permission(from(&root, revoke)).await?;
    assert_eq!(refused(answers.message().await), denied());
    Ok(())
}

#[tokio::test]
async fn strangers_streams_end_when_users_begin_to_count() -> anyhow::Result<()> {
    let server = TestServer::start_with(&[super::QUICK]).await?;
    let mut answers = watch(&server, "", vec![create("k", "")]).await?;
    assert!(!answers.message().await?.unwrap_or_default().canceled);
    server.switch_on().await?;
    assert_eq!(refused(answers.message().await), denied());
    Ok(())
}
