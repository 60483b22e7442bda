//! Three servers: any of them answers, any one of them may be missing, and what comes back catches up.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_proto::etcdserverpb::{StatusRequest, maintenance_client::MaintenanceClient};
use holdfast_testkit::{Binaries, Cluster, Server, Signal, wait_until};

use crate::{
    http::Request,
    lab::{Caller, eventually},
};

/// The admin at each of these servers.
pub(crate) fn callers(servers: &[Server]) -> Result<Vec<Caller>> {
    servers.iter().map(|server| Caller::new(&server.endpoints()?.api, &server.admin_token()?)).collect()
}

/// Which of the servers leads, in the eyes of one of them.
pub(crate) async fn leader(cluster: &Cluster, eyes: &Caller) -> Result<usize> {
    let lead = MaintenanceClient::new(eyes.channel()).status(eyes.with(StatusRequest {})?).await?.into_inner().leader;
    for (at, caller) in callers(cluster.servers())?.iter().enumerate() {
        let status = MaintenanceClient::new(caller.channel()).status(caller.with(StatusRequest {})?).await;
        let header = status.ok().and_then(|status| status.into_inner().header);
        if header.is_some_and(|header| header.member_id == lead) {
            return Ok(at);
        }
    }
    anyhow::bail!("nobody is member {lead}")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_asked_answers_for_all() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let callers = callers(cluster.servers())?;
    for (at, writer) in callers.iter().enumerate() {
        writer.put(&format!("by/{at}"), "value").await?;
        for reader in &callers {
            ensure!(reader.get(&format!("by/{at}")).await?.as_deref() == Some("value"), "a read after a write");
        }
    }
    // Identities, locks and history are everywhere, too.
    let mira = callers[1].principal("user/mira", "operator").await?;
    let doors = cluster.servers().iter().map(Server::endpoints).collect::<Result<Vec<_>>>()?;
    for at in &doors {
        eventually("mira is known everywhere", || async {
            Ok((Request::get("/versions").bearer(&mira).send(&at.http)?.status == 200).then_some(()))
        })
        .await?;
    }
    let lock = |id: &str, at: &str| {
        let body = format!(r#"{{"client_params":{{"id":"{id}","group":"default"}}}}"#);
        Request::post("/v1/pre-reboot", body).header("fleet-lock-protocol", "true").send(at)
    };
    ensure!(lock("a", &doors[0].http)?.status == 200);
    lock("b", &doors[1].http)?.expect(423, "kind", "failed_lock_semaphore_full")?;
    lock("b", &doors[2].http)?.expect(423, "kind", "failed_lock_semaphore_full")?;
    ensure!(lock("a", &doors[2].http)?.status == 200, "the holder may ask anywhere");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_may_die() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let callers = callers(cluster.servers())?;
    callers[0].put("before", "value").await?;
    let dead = leader(&cluster, &callers[0]).await?;
    cluster.servers_mut()[dead].kill()?;
    let alive: Vec<_> = callers.iter().enumerate().filter(|(at, _)| *at != dead).map(|(_, caller)| caller).collect();
    for (n, caller) in alive.iter().enumerate() {
        // While there is no leader a write is not acknowledged, and may be repeated.
        eventually("the others go on", || async { Ok(caller.put(&format!("after/{n}"), "value").await.ok()) }).await?;
        ensure!(caller.get("before").await?.as_deref() == Some("value"));
    }
    eventually("the history goes on", || async {
        let sql = "SELECT count(*) FROM audit.events WHERE action = 'kv.Put' AND resource = 'key/after/1'";
        Ok((alive[0].number(sql).await.unwrap_or_default() > 0).then_some(()))
    })
    .await?;

    let returned = &mut cluster.servers_mut()[dead];
    returned.start_again()?;
    returned.wait_ready()?;
    let caller = Caller::new(&returned.endpoints()?.api, &returned.admin_token()?)?;
    eventually("it catches up by itself", || async {
        let local = caller.range("after/", "after0", true).await?;
        Ok((local.count == 2).then_some(()))
    })
    .await?;
    caller.nothing_twice().await
}

/// Whoever looks for what is wrong asks servers that are wrong: one that is frozen, and one without a majority.
#[test]
fn status_shows_every_server_whatever_is_wrong_with_it() -> Result<()> {
    let florctl = Binaries::find()?.path("florctl");
    if !florctl.is_file() {
        eprintln!("SKIPPED: florctl is not built (cargo build -p florctl)");
        return Ok(());
    }
    let mut cluster = Cluster::start(3)?;
    let asked = cluster.servers()[0].endpoints()?;
    let token = cluster.servers()[0].admin_token()?;
    let status = || -> Result<String> {
        let begun = Instant::now();
        let api = format!("http://{}", asked.api);
        let said = Command::new(&florctl).args(["status", "--api", &api]).env("HOLDFAST_TOKEN", &token).output()?;
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        ensure!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
        Ok(String::from_utf8(said.stdout)?)
    };
    let patience = Duration::from_secs(60);
    wait_until(patience, "all have told where they are reached", || {
        let told = status()?;
        Ok((told.matches("http://").count() == 3 && told.contains("leader")).then_some(()))
    })?;
    cluster.servers_mut()[2].signal(Signal::Stop)?;
    wait_until(patience, "the others lead themselves, and say who is frozen", || {
        let told = status()?;
        Ok((told.contains("leader") && told.contains("no answer within")).then_some(()))
    })?;
    cluster.servers_mut()[1].kill()?;
    let alone = status()?;
    ensure!(alone.contains("no answer within") && alone.contains("refused"), "{alone}");
    ensure!(alone.lines().count() == 4, "{alone}");
    Ok(())
}

/// One server alone acknowledges nothing, says so, and goes on as soon as there is a second one.
#[tokio::test(flavor = "multi_thread")]
async fn a_minority_does_not_pretend() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let callers = callers(cluster.servers())?;
    callers[0].put("a", "1").await?;
    // What this server knows itself it may tell later.
    eventually("s1 has it", || async { Ok((callers[0].range("a", "", true).await?.count == 1).then_some(())) }).await?;
    for server in &mut cluster.servers_mut()[1..] {
        server.kill()?;
    }
    let refused = callers[0].put("a", "2").await.err().context("a minority acknowledged a write")?;
    let status = refused.downcast_ref::<tonic::Status>().context("not an answer")?;
    ensure!(matches!(status.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded), "{status:?}");
    let at = cluster.servers()[0].endpoints()?;
    let health = Request::get("/health").send(&at.api)?;
    ensure!((health.status, health.json()?["health"].as_str()) == (503, Some("false")), "{health:?}");
    ensure!(Request::get("/readyz").send(&at.http)?.status == 503);
    ensure!(callers[0].range("a", "", true).await?.count == 1, "a local read");

    let second = &mut cluster.servers_mut()[1];
    second.start_again()?;
    second.wait_ready()?;
    eventually("two of three go on", || async { Ok(callers[0].put("a", "3").await.ok()) }).await?;
    ensure!(callers[0].get("a").await?.as_deref() == Some("3"));
    Ok(())
}
