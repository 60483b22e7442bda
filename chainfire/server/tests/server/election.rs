//! The Election service (§2.8): the oldest key below a name leads, and its value is what it proposes.

use std::time::Duration;

use holdfast_proto::{
    etcdserverpb::{DeleteRangeRequest, LeaseRevokeRequest},
    v3electionpb::{
        CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
        election_client::ElectionClient,
    },
};
use tokio::{task::JoinHandle, time::timeout};
use tonic::{Code, Response, Status, Streaming, transport::Channel};

use crate::{
    doors::Suite,
    kv::get,
    lock::{leases, line},
    support::TestServer,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn client(server: &TestServer) -> ElectionClient<Channel> {
    ElectionClient::new(server.channel())
}

fn with(lease: i64, value: &'static str) -> CampaignRequest {
    CampaignRequest { name: "e".into(), lease, value: value.into() }
}

fn named() -> LeaderRequest {
    LeaderRequest { name: "e".into() }
}

fn value(response: &LeaderResponse) -> String {
    let value = response.kv.as_ref().map(|kv| kv.value.to_vec()).unwrap_or_default();
    String::from_utf8_lossy(&value).into_owned()
}

async fn elected(server: &TestServer, request: CampaignRequest) -> anyhow::Result<LeaderKey> {
    let elected = client(server).campaign(request).await?.into_inner();
    elected.leader.ok_or_else(|| anyhow::anyhow!("no leader key"))
}

fn waiting(server: &TestServer, request: CampaignRequest) -> JoinHandle<Result<Response<CampaignResponse>, Status>> {
    let mut client = client(server);
    tokio::spawn(async move { client.campaign(request).await })
}

async fn next(observed: &mut Streaming<LeaderResponse>) -> anyhow::Result<LeaderResponse> {
    let next = timeout(PATIENCE, observed.message()).await??;
    next.ok_or_else(|| anyhow::anyhow!("the stream ended"))
}

/// "same keys, value = proposal"; "Leader = oldest key".
#[tokio::test]
async fn who_campaigns_first_leads() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[0x1f, 2]).await?;
    let first = elected(&server, with(0x1f, "one")).await?;
    assert_eq!(first, LeaderKey { name: "e".into(), key: "e/1f".into(), rev: 2, lease: 0x1f });
    let kv = server.kv().range(get("e/1f")).await?.into_inner().kvs.pop().unwrap_or_default();
    assert_eq!((kv.value.as_ref(), kv.lease), (&b"one"[..], 0x1f));
    let second = waiting(&server, with(2, "two"));
    line(&server, b"e/", b"e0", 2).await?;
    let leader = client(&server).leader(named()).await?.into_inner();
    assert_eq!(value(&leader), "one");
    assert_eq!(leader.header.unwrap_or_default().revision, 3);

    let resigned = client(&server).resign(ResignRequest { leader: Some(first.clone()) }).await?.into_inner();
    assert_eq!(resigned.header.unwrap_or_default().revision, 4);
    let second = timeout(PATIENCE, second).await???.into_inner().leader.unwrap_or_default();
    assert_eq!((second.key.as_ref(), second.rev), (&b"e/2"[..], 3));
    assert_eq!(value(&client(&server).leader(named()).await?.into_inner()), "two");
    // Whoever leads no more has nothing to give up.
    client(&server).resign(ResignRequest { leader: Some(first) }).await?;
    assert_eq!(value(&client(&server).leader(named()).await?.into_inner()), "two");
    Ok(())
}

/// "Campaign on an existing own key re-proclaims if value differs".
#[tokio::test]
async fn a_second_campaign_of_the_same_lease_proclaims() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[1]).await?;
    let first = elected(&server, with(1, "one")).await?;
    assert_eq!(elected(&server, with(1, "one")).await?, first);
    let kv = server.kv().range(get("e/1")).await?.into_inner().kvs.pop().unwrap_or_default();
    assert_eq!(kv.version, 1, "the same value is not written again");
    assert_eq!(elected(&server, with(1, "two")).await?, first);
    let kv = server.kv().range(get("e/1")).await?.into_inner().kvs.pop().unwrap_or_default();
    assert_eq!((kv.version, kv.value.as_ref(), kv.create_revision), (2, &b"two"[..], first.rev));
    Ok(())
}

/// "Proclaim/Resign are guarded by create_revision == leader.rev".
#[tokio::test]
async fn only_who_still_leads_proclaims_or_resigns() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[1]).await?;
    let leader = elected(&server, with(1, "one")).await?;
    let proclaim =
        |leader: &LeaderKey, value: &'static str| ProclaimRequest { leader: Some(leader.clone()), value: value.into() };
    let proclaimed = client(&server).proclaim(proclaim(&leader, "two")).await?.into_inner();
    assert_eq!(proclaimed.header.unwrap_or_default().revision, 3);
    assert_eq!(value(&client(&server).leader(named()).await?.into_inner()), "two");
    let earlier = LeaderKey { rev: leader.rev - 1, ..leader.clone() };
    let refused = client(&server).proclaim(proclaim(&earlier, "three")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unknown, "election: not leader"));
    client(&server).resign(ResignRequest { leader: Some(earlier) }).await?;
    let kv = server.kv().range(get("e/1")).await?.into_inner().kvs.pop().unwrap_or_default();
    assert_eq!((kv.value.as_ref(), kv.lease), (&b"two"[..], 1));
    Ok(())
}

/// "none → `election: no leader` (code Unknown)"; "Missing `leader` field → `"leader" field must be provided`".
#[tokio::test]
async fn what_is_missing_has_etcds_words() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let nobody = client(&server).leader(named()).await.unwrap_err();
    assert_eq!((nobody.code(), nobody.message()), (Code::Unknown, "election: no leader"));
    let words = "\"leader\" field must be provided";
    let proclaim = client(&server).proclaim(ProclaimRequest::default()).await.unwrap_err();
    assert_eq!((proclaim.code(), proclaim.message()), (Code::Unknown, words));
    let resign = client(&server).resign(ResignRequest::default()).await.unwrap_err();
    assert_eq!((resign.code(), resign.message()), (Code::Unknown, words));
    Ok(())
}

/// "Observe: stream of current leader + every new value, switching keys on delete".
#[tokio::test]
async fn observers_see_every_leader_and_every_value() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[1, 2]).await?;
    let mut early = client(&server).observe(named()).await?.into_inner();
    let first = elected(&server, with(1, "one")).await?;
    let seen = next(&mut early).await?;
    assert_eq!((value(&seen), seen.header.unwrap_or_default().revision), ("one".to_owned(), 2));
    let mut late = client(&server).observe(named()).await?.into_inner();
    assert_eq!(value(&next(&mut late).await?), "one");

    client(&server).proclaim(ProclaimRequest { leader: Some(first.clone()), value: "again".into() }).await?;
    let second = waiting(&server, with(2, "two"));
    line(&server, b"e/", b"e0", 2).await?;
    client(&server).resign(ResignRequest { leader: Some(first) }).await?;
    timeout(PATIENCE, second).await???;
    for observed in [&mut early, &mut late] {
        assert_eq!(value(&next(observed).await?), "again");
        let two = next(observed).await?;
        assert_eq!(value(&two), "two");
    }
    // Nobody leads for a while.
    server.lease().lease_revoke(LeaseRevokeRequest { id: 2 }).await?;
    leases(&server, &[3]).await?;
    elected(&server, with(3, "three")).await?;
    assert_eq!(value(&next(&mut early).await?), "three");
    assert_eq!(value(&next(&mut late).await?), "three");
    Ok(())
}

/// "Campaign/Lock block for the whole RPC lifetime; on cancel they delete their key".
#[tokio::test]
async fn who_stops_campaigning_leaves_the_line() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[1, 2]).await?;
    elected(&server, with(1, "one")).await?;
    let second = waiting(&server, with(2, "two"));
    line(&server, b"e/", b"e0", 2).await?;
    second.abort();
    let left = line(&server, b"e/", b"e0", 1).await?;
    assert_eq!(left[0].key, "e/1");
    Ok(())
}

/// A candidate whose key is gone when its turn comes does not lead.
#[tokio::test]
async fn who_lost_the_key_in_the_line_does_not_lead() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    leases(&server, &[1, 2]).await?;
    let first = elected(&server, with(1, "one")).await?;
    let second = waiting(&server, with(2, "two"));
    line(&server, b"e/", b"e0", 2).await?;
    server.kv().delete_range(DeleteRangeRequest { key: "e/2".into(), ..Default::default() }).await?;
    client(&server).resign(ResignRequest { leader: Some(first) }).await?;
    let lost = timeout(PATIENCE, second).await??.unwrap_err();
    assert_eq!((lost.code(), lost.message()), (Code::Unknown, "election: not leader"));
    Ok(())
}

#[tokio::test]
async fn an_election_takes_the_right_to_its_keys() -> anyhow::Result<()> {
    let suite = Suite::start().await?;
    let mut elections = ElectionClient::new(suite.channel.clone());
    let named = |name: &'static str| LeaderRequest { name: name.into() };
    let campaign = |name: &'static str| CampaignRequest { name: name.into(), ..CampaignRequest::default() };
    elections.campaign(campaign("own/e")).await?;
    elections.leader(named("own/e")).await?;
    let denied = [
        elections.campaign(campaign("other")).await.map(drop),
        elections.leader(named("other")).await.map(drop),
        elections.observe(named("other")).await?.into_inner().message().await.map(drop),
    ];
    assert_eq!(denied.map(|denied| denied.unwrap_err().code()), [Code::PermissionDenied; 3]);
    suite.end().await;
    Ok(())
}
