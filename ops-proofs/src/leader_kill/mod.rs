//! Clients write, the leader is killed again and again; then clients, store and audit history must agree.

mod verdict;
mod writers;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use holdfast_testkit::Cluster;
use serde::Serialize;

use self::{
    verdict::Observed,
    writers::{Outcome, Writers},
};
use crate::{
    etcd::{self, Change, Member},
    history::History,
    lane::{Check, Run},
    result::Setting,
};

pub(crate) const CHECK: Check = Check {
    id: "leader-kill",
    requirement: "No acknowledged write is lost while the leader of three is killed again and again; the members agree; \
                  and each write is in the audit history exactly once.",
    run: prove,
};

const SERVERS: usize = 3;
const WRITERS: usize = 4;
/// Writes between a new leader's first and the return of the killed one.
const WRITES_WITHOUT: u64 = 40;
/// For elections, restarts and shipping on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// Contradictions that are printed; all are in the evidence.
const SHOWN: usize = 5;

/// One kill, in milliseconds from it.
#[derive(Debug, Serialize)]
struct Kill {
    leader: String,
    new_leader_ms: u128,
    /// Until clients had their first further write acknowledged.
    serving_ms: u128,
    /// Until the killed one was back and had applied what the others had when it was ready.
    caught_up_ms: u128,
}

#[derive(Debug, Serialize)]
struct Evidence {
    kills: Vec<Kill>,
    first_revision: i64,
    last_revision: i64,
    acknowledged: usize,
    unknown: usize,
    unknown_applied: usize,
    refused: usize,
    /// `HashKV` at the last revision, by member.
    hashes: BTreeMap<String, u32>,
    audit_rows: usize,
    contradictions: Vec<String>,
}

fn prove(run: &Run<'_>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let folder = tempfile::Builder::new().prefix("holdfast-proof-").tempdir()?;
    let mut cluster = Cluster::start_in(run.binaries, folder.path(), SERVERS)?;
    let outcome = runtime.block_on(drive(run, &mut cluster));
    // Killed before their logs are kept, so that the files do not change any more.
    drop(cluster);
    run.keep_logs(CHECK.id, &folder.path().join("logs"))?;
    outcome
}

/// The cluster is driven from this task, which may block: the writers have the runtime's other threads.
async fn drive(run: &Run<'_>, cluster: &mut Cluster) -> Result<()> {
    let kills = match run.setting {
        Setting::Short => 10,
        Setting::Long => 200,
    };
    cluster.wait_ready()?;
    let admin_token = cluster.admin_token()?;
    let mut members = Vec::new();
    let mut token = None;
    for server in cluster.servers() {
        let channel = etcd::channel(&server.endpoints()?.api)?;
        if token.is_none() {
            token = Some(etcd::log_in(channel.clone(), "admin", &admin_token).await?);
        }
        members.push(Member::new(server.name(), channel, token.as_deref().unwrap_or_default())?);
    }
    let first_server = cluster.servers().first().context("no servers")?;
    let history = History::new(etcd::channel(&first_server.endpoints()?.api)?, token.as_deref().unwrap_or_default());
    let any = members.first().context("no members")?;

    history.record_everything().await?;
    let first_revision = any.revision().await? + 1;
    let writers = Writers::start(WRITERS, &members);
    let mut killed = Vec::new();
    for number in 1..=kills {
        let kill = kill_leader(cluster, &members, &writers).await.with_context(|| format!("kill {number}"))?;
        println!("  kill {number} of {kills}: {} (serving again after {} ms)", kill.leader, kill.serving_ms);
        killed.push(kill);
    }
    let writes = writers.stop().await;

    let last_revision = any.revision().await?;
    let hashes = agreed_hashes(&members, last_revision).await?;
    let changes = agreed_history(&members, first_revision, last_revision).await?;
    eventually("the audit history to be complete", async || {
        Ok(history.newest_revision().await?.filter(|newest| *newest >= last_revision))
    })
    .await?;
    let audit = history.puts(first_revision, last_revision).await?;

    let observed =
        Observed { first: first_revision, last: last_revision, writes: &writes, changes: &changes, audit: &audit };
    let contradictions = observed.contradictions();
    let count = |wanted: fn(&Outcome) -> bool| writes.iter().filter(|write| wanted(&write.outcome)).count();
    let evidence = Evidence {
        kills: killed,
        first_revision,
        last_revision,
        acknowledged: count(|outcome| matches!(outcome, Outcome::Acknowledged(_))),
        unknown: count(|outcome| matches!(outcome, Outcome::Unknown(_))),
        unknown_applied: observed.unknown_applied(),
        refused: count(|outcome| matches!(outcome, Outcome::Refused(_))),
        hashes,
        audit_rows: audit.len(),
        contradictions,
    };
    println!(
        "  {} writes acknowledged, {} unknown ({} of them applied), {} refused, {} audit rows",
        evidence.acknowledged, evidence.unknown, evidence.unknown_applied, evidence.refused, evidence.audit_rows
    );
    run.keep("leader-kill.json", &evidence)?;
    if evidence.acknowledged == 0 {
        bail!("nothing was written");
    }
    if !evidence.contradictions.is_empty() {
        let shown: Vec<_> = evidence.contradictions.iter().take(SHOWN).map(String::as_str).collect();
        bail!("{} contradictions: {}", evidence.contradictions.len(), shown.join("; "));
    }
    Ok(())
}

async fn kill_leader(cluster: &mut Cluster, members: &[Member], writers: &Writers) -> Result<Kill> {
    let leader = find_leader(members).await?;
    let (place, others) = split(members, &leader)?;
    let before = writers.acknowledged();
    let clock = Instant::now();
    let server = cluster.servers_mut().get_mut(place).context("no such server")?;
    server.kill()?;
    find_leader(&others).await.context("no new leader")?;
    let new_leader_ms = clock.elapsed().as_millis();
    acknowledged(writers, before).await?;
    let serving_ms = clock.elapsed().as_millis();
    acknowledged(writers, writers.acknowledged() + WRITES_WITHOUT).await?;

    server.start_again()?;
    server.wait_ready()?;
    let target = applied(&others).await?;
    let returned = members.get(place).context("no such member")?;
    eventually("the killed member to catch up", async || {
        Ok(returned.status().await.ok().filter(|status| status.raft_applied_index >= target))
    })
    .await?;
    Ok(Kill { leader, new_leader_ms, serving_ms, caught_up_ms: clock.elapsed().as_millis() })
}

/// The name of the member that says it leads.
async fn find_leader(members: &[Member]) -> Result<String> {
    eventually("a leader", async || {
        for member in members {
            if member.leads().await {
                return Ok(Some(member.name().to_owned()));
            }
        }
        Ok(None)
    })
    .await
}

/// The place of a member and the members without it.
fn split(members: &[Member], name: &str) -> Result<(usize, Vec<Member>)> {
    let place = members.iter().position(|member| member.name() == name).context("no such member")?;
    Ok((place, members.iter().filter(|member| member.name() != name).cloned().collect()))
}

async fn acknowledged(writers: &Writers, more_than: u64) -> Result<()> {
    eventually("an acknowledged write", async || Ok((writers.acknowledged() > more_than).then_some(()))).await
}

async fn applied(members: &[Member]) -> Result<u64> {
    let mut most = 0;
    for member in members {
        most = most.max(member.status().await?.raft_applied_index);
    }
    Ok(most)
}

/// Every member's digest at a revision, once all have reached it.
async fn agreed_hashes(members: &[Member], revision: i64) -> Result<BTreeMap<String, u32>> {
    let mut hashes = BTreeMap::new();
    for member in members {
        // Before it has applied the revision, a member answers that it lies in the future.
        let hash = eventually("a member's hash", async || Ok(member.hash_at(revision).await.ok())).await?;
        hashes.insert(member.name().to_owned(), hash);
    }
    let mut different: Vec<_> = hashes.values().collect();
    different.dedup();
    if different.len() > 1 {
        bail!("the members disagree at revision {revision}: {hashes:?}");
    }
    Ok(hashes)
}

/// Every change between two revisions, told alike by all members.
async fn agreed_history(members: &[Member], first: i64, last: i64) -> Result<Vec<Change>> {
    let mut agreed: Option<Vec<Change>> = None;
    for member in members {
        let told = member.history(first, last).await.with_context(|| format!("{}'s watch", member.name()))?;
        match &agreed {
            Some(before) if *before != told => {
                bail!("{} tells another history than the members before it", member.name())
            }
            Some(_) => {}
            None => agreed = Some(told),
        }
    }
    agreed.context("no members")
}

async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        if begun.elapsed() >= PATIENCE {
            bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
