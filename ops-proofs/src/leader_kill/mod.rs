//! Clients write, the leader is killed again and again; then clients, store, journal and audit history must agree.

mod agree;
mod call;
mod journal;
mod kill;
mod replay;
#[cfg(test)]
mod tests;
mod writers;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use holdfast_testkit::{Cluster, eventually};
use serde::Serialize;

use self::{
    journal::Journal,
    kill::{Kill, kill_leader},
    writers::{Attempt, Outcome, Writers},
};
use crate::{
    etcd::{self, Change, Member},
    history::{History, Position},
    lane::{Check, Run},
    members::{self, PATIENCE},
    result::Setting,
};

pub(crate) const CHECK: Check = Check {
    id: "leader-kill",
    requirement: "No acknowledged write is lost while the leader of three is killed again and again; the members agree; \
                  and the audit rows are the journal and the history of every change, one to one.",
    run: prove,
};

const SERVERS: usize = 3;
const WRITERS: usize = 4;
/// Contradictions that are printed; all are in the evidence.
const SHOWN: usize = 5;

#[derive(Debug, Serialize)]
struct Evidence {
    kills: Vec<Kill>,
    last_revision: i64,
    acknowledged: usize,
    unknown: usize,
    unknown_applied: usize,
    refused: usize,
    /// `HashKV` at the last revision, by member.
    hashes: BTreeMap<String, u32>,
    exercised: Exercised,
    positions: Vec<Position>,
    audit_rows: BTreeMap<String, usize>,
    contradictions: Vec<String>,
}

/// How often the history shows what the comparison is about.
#[derive(Debug, Serialize)]
struct Exercised {
    puts: usize,
    deletes: usize,
    /// Revisions with several changes.
    of_several_keys: usize,
    /// Acknowledged deletions that found nothing.
    of_nothing: usize,
    /// Leases that ended and took keys along.
    leases_with_keys: usize,
    /// Records that are not the first of their log entry.
    later_records: usize,
}

fn prove(run: &Run<'_>) -> Result<()> {
    run.on_cluster(SERVERS, async |cluster| drive(run, cluster).await)
}

async fn drive(run: &Run<'_>, cluster: &mut Cluster) -> Result<()> {
    let kills = match run.setting {
        Setting::Short => 10,
        Setting::Long => 200,
    };
    cluster.wait_ready()?;
    let (members, histories) = log_in(cluster).await?;
    histories.first().context("no members")?.record_everything().await?;
    let writers = Writers::start(WRITERS, &members);
    let mut killed = Vec::new();
    for number in 1..=kills {
        let kill = kill_leader(cluster, &members, &writers).await.with_context(|| format!("kill {number}"))?;
        println!("  kill {number} of {kills}: {} (serving again after {} ms)", kill.leader, kill.serving_ms);
        killed.push(kill);
    }
    let attempts = writers.stop().await;
    let evidence = compare(&members, &histories, &attempts, killed).await?;
    println!(
        "  {} calls acknowledged, {} unknown ({} of them applied), {} refused; {} audit rows",
        evidence.acknowledged,
        evidence.unknown,
        evidence.unknown_applied,
        evidence.refused,
        evidence.audit_rows.values().sum::<usize>()
    );
    run.keep("leader-kill.json", &evidence)?;
    judge(&evidence)
}

/// A client of each member, and of its history.
async fn log_in(cluster: &Cluster) -> Result<(Vec<Member>, Vec<History>)> {
    let (members, token) = members::log_in(cluster).await?;
    let servers = cluster.servers().iter();
    let histories = servers.map(|server| {
        let address = server.endpoints()?.api;
        Ok(History::new(server.name(), &address, etcd::channel(&address)?, &token))
    });
    Ok((members, histories.collect::<Result<_>>()?))
}

/// Holds what the clients were told, the store's history and the audit rows against each other.
async fn compare(
    members: &[Member],
    histories: &[History],
    attempts: &[Attempt],
    kills: Vec<Kill>,
) -> Result<Evidence> {
    let any = members.first().context("no members")?;
    eventually("the leases to end", PATIENCE, async || Ok(any.leases().await.ok().filter(|leases| *leases == 0)))
        .await?;
    let last_revision = any.revision().await?;
    let hashes = agree::agreed_hashes(members, last_revision).await?;
    let changes = agree::agreed_history(members, last_revision).await?;
    let positions = agree::shipped(histories).await?;
    let stream = &positions.first().context("no members")?.stream;
    let rows = agree::agreed_rows(histories, stream).await?;

    let replayed = replay::replay(attempts, &changes, last_revision);
    let journal = Journal { rows: &rows, positions: &positions, changes: &changes, attempts, ended: &replayed.ended };
    let mut contradictions = replayed.contradictions;
    contradictions.extend(journal.contradictions());
    let audit_rows = journal.rows_by_action().into_iter().map(|(action, rows)| (action.to_owned(), rows)).collect();
    let count = |wanted: fn(&Outcome) -> bool| attempts.iter().filter(|attempt| wanted(&attempt.outcome)).count();
    Ok(Evidence {
        kills,
        last_revision,
        acknowledged: count(|outcome| matches!(outcome, Outcome::Acknowledged(_))),
        unknown: count(|outcome| matches!(outcome, Outcome::Unknown(_))),
        unknown_applied: replayed.unknown_applied,
        refused: count(|outcome| matches!(outcome, Outcome::Refused(_))),
        hashes,
        exercised: Exercised {
            puts: changes.iter().filter(|change| change.value.is_some()).count(),
            deletes: changes.iter().filter(|change| change.value.is_none()).count(),
            of_several_keys: revisions(&changes).filter(|changes| changes.len() > 1).count(),
            of_nothing: replayed.found_nothing,
            leases_with_keys: replayed.ended.len(),
            later_records: rows.iter().filter(|row| row.sub > 0).count(),
        },
        positions,
        audit_rows,
        contradictions,
    })
}

/// The changes of each revision.
fn revisions(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    changes.chunk_by(|one, next| one.revision == next.revision)
}

fn judge(evidence: &Evidence) -> Result<()> {
    let Exercised { puts, deletes, of_several_keys, of_nothing, leases_with_keys, later_records } = evidence.exercised;
    if [puts, deletes, of_several_keys, of_nothing, leases_with_keys, later_records].contains(&0) {
        bail!("what was not exercised is not proven: {:?}", evidence.exercised);
    }
    if !evidence.contradictions.is_empty() {
        let shown: Vec<_> = evidence.contradictions.iter().take(SHOWN).map(String::as_str).collect();
        bail!("{} contradictions: {}", evidence.contradictions.len(), shown.join("; "));
    }
    Ok(())
}
