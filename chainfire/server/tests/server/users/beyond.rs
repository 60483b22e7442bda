//! §2.10: what is built on keys has the rights of its caller: locks, elections, streams, history, and calls in JSON.

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::{
    authpb::permission::Type,
    chainfire::{VersionsRequest, history_client::HistoryClient},
    etcdserverpb::RangeRequest,
    v3electionpb::{CampaignRequest, LeaderRequest, election_client::ElectionClient},
    v3lockpb::{LockRequest, UnlockRequest, lock_client::LockClient},
};
use holdfast_testkit::client;
use serde_json::{Value, json};

use super::{denied, from, guarded, nobody, prefix, refused};
use crate::{kv::put, support::TestServer};

#[tokio::test]
async fn locks_and_elections_are_for_who_may_read_and_write_their_keys() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    let (mut locks, mut elections) = (LockClient::new(server.channel()), ElectionClient::new(server.channel()));
    let lock = |name: &'static str| LockRequest { name: name.into(), lease: 0 };
    assert_eq!(refused(locks.lock(lock("rw/lock")).await), nobody());
    for name in ["other", "r/lock", "w/lock"] {
        assert_eq!(refused(locks.lock(from(&mira, lock(name))).await), denied(), "{name}");
    }
    let held = locks.lock(from(&mira, lock("rw/lock"))).await?.into_inner().key;
    assert_eq!(refused(locks.unlock(UnlockRequest { key: held.clone() }).await), nobody());
    // Rights have changed since the lock was taken.
    server.grant(&root, "mira", Type::Read, "x", "").await?;
    locks.unlock(from(&mira, UnlockRequest { key: held })).await?;

    let campaign = |name: &'static str| CampaignRequest { name: name.into(), lease: 0, value: "mira".into() };
    assert_eq!(refused(elections.campaign(from(&mira, campaign("r/vote"))).await), denied());
    elections.campaign(from(&mira, campaign("rw/vote"))).await?;
    let leader = |name: &'static str| LeaderRequest { name: name.into() };
    assert_eq!(refused(elections.leader(leader("rw/vote")).await), nobody());
    let led = elections.leader(from(&mira, leader("rw/vote"))).await?.into_inner().kv.unwrap_or_default();
    assert_eq!(led.value, "mira");
    Ok(())
}

/// Somebody waits for a lock while users change: the wait goes on with the rights of now.
#[tokio::test]
async fn a_lock_that_is_waited_for_outlives_a_change_of_users() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    let mut locks = LockClient::new(server.channel());
    let lock = || LockRequest { name: "rw/lock".into(), lease: 0 };
    let held = locks.lock(from(&root, lock())).await?.into_inner().key;
    let waiting = tokio::spawn({
        let (mut locks, request) = (locks.clone(), from(&mira, lock()));
        async move { locks.lock(request).await }
    });
    let queued = async {
        loop {
            let standing = server.kv().range(from(&root, prefix("rw/"))).await?.into_inner().count;
            if standing == 2 {
                return Ok::<_, tonic::Status>(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::three::PATIENCE, queued).await??;
    server.role_add(&root, "another").await?;
    locks.unlock(from(&root, UnlockRequest { key: held })).await?;
    tokio::time::timeout(crate::three::PATIENCE, waiting).await???;
    Ok(())
}

#[tokio::test]
async fn streams_and_history_are_for_who_may_read() -> anyhow::Result<()> {
    let (server, root, mira) = guarded().await?;
    server.kv().put(from(&root, put("w/k", "v"))).await?;
    server.kv().put(from(&root, put("r/k", "v"))).await?;
    let streamed = |range: RangeRequest, token: &str| {
        let (mut kv, request) = (server.kv(), from(token, range));
        async move { kv.range_stream(request).await?.into_inner().message().await }
    };
    assert_eq!(refused(streamed(prefix("r/"), "").await), nobody());
    assert_eq!(refused(streamed(prefix("w/"), &mira).await), denied());
    let part = streamed(prefix("r/"), &mira).await?.unwrap_or_default().range_response.unwrap_or_default();
    assert_eq!(part.count, 1);

    let versions = |key: &'static str, token: &str| {
        let request = from(token, VersionsRequest { key: key.into(), ..Default::default() });
        let mut history = HistoryClient::new(server.channel());
        async move { history.versions(request).await?.into_inner().message().await }
    };
    assert_eq!(refused(versions("r/k", "").await), nobody());
    assert_eq!(refused(versions("w/k", &mira).await), denied());
    assert!(versions("r/k", &mira).await?.is_some());
    Ok(())
}

/// Posts JSON with a token, if there is one; none where there is no curl.
async fn post(server: &TestServer, path: &str, token: &str, body: Value) -> anyhow::Result<Option<Value>> {
    let Some(curl) = client("curl")? else { return Ok(None) };
    let mut command = Command::new(curl);
    command.args(["-sS", "--max-time", "20", "-d", &body.to_string()]);
    if !token.is_empty() {
        command.args(["-H", &format!("Authorization: {token}")]);
    }
    command.arg(format!("http://{}{path}", server.address));
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

#[tokio::test]
async fn the_gateway_takes_the_token_in_the_authorization_header() -> anyhow::Result<()> {
    let (server, ..) = guarded().await?;
    let login = json!({"name": "mira", "password": "mira"});
    let Some(answer) = post(&server, "/v3/auth/authenticate", "", login).await? else { return Ok(()) };
    let token = answer["token"].as_str().unwrap_or_default();
    let put = |key: &str| json!({"key": STANDARD.encode(key), "value": "dg=="});
    let stored = post(&server, "/v3/kv/put", token, put("rw/k")).await?.unwrap_or_default();
    assert!(stored["header"]["revision"].is_string(), "{stored}");
    for (token, key, says) in [
        ("", "rw/k", "etcdserver: user name is empty"),
        ("abc.1", "rw/k", "etcdserver: invalid auth token"),
        (token, "other", "etcdserver: permission denied"),
    ] {
        let answer = post(&server, "/v3/kv/put", token, put(key)).await?.unwrap_or_default();
        assert_eq!(answer["message"], says, "{answer}");
    }
    Ok(())
}
