//! Clients of all members read and write the same keys while members are killed and paused; then each key must have
//! been one register, and revisions one clock.

mod call;
mod clients;
mod faults;
mod order;
mod register;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use holdfast_testkit::Cluster;
use serde::Serialize;

use self::{
    call::{Call, End},
    clients::Clients,
    faults::Fault,
    register::{Answer, Op},
};
use crate::{
    lane::{Check, Run},
    members,
    result::Setting,
};

pub(crate) const CHECK: Check = Check {
    id: "linearizable",
    requirement: "Whatever member is asked, while members die, stand still and wake up again: the answers are those of \
                  one store that does one call after the other.",
    run: prove,
};

const SERVERS: usize = 3;
/// Clients of each member.
const CLIENTS: usize = 2;

#[derive(Debug, Serialize)]
struct Evidence {
    faults: Vec<Fault>,
    keys: usize,
    reads: usize,
    writes: usize,
    swaps: usize,
    swaps_refused: usize,
    deletions: usize,
    unknown: usize,
    contradictions: Vec<String>,
}

fn prove(run: &Run<'_>) -> Result<()> {
    run.on_cluster(SERVERS, async |cluster| drive(run, cluster).await)
}

async fn drive(run: &Run<'_>, cluster: &mut Cluster) -> Result<()> {
    let rounds = match run.setting {
        Setting::Short => 1,
        Setting::Long => 50,
    };
    cluster.wait_ready()?;
    let (members, _) = members::log_in(cluster).await?;
    let clients = Clients::start(CLIENTS, &members);
    faults::answered(&clients).await?;
    let mut happened = Vec::new();
    for fault in (0..rounds).flat_map(|_| Fault::ALL) {
        clients.turn();
        fault.happen(cluster, &members, &clients).await.with_context(|| format!("{fault:?}"))?;
        happened.push(fault);
    }
    let evidence = judge(happened, &clients.stop().await);
    let Evidence { keys, reads, writes, swaps, deletions, unknown, .. } = evidence;
    println!("  {keys} keys: {reads} reads, {writes} writes, {swaps} swaps, {deletions} deletions, {unknown} unknown");
    run.keep("linearizable.json", &evidence)?;
    if [reads, writes, swaps, evidence.swaps_refused, deletions, unknown].contains(&0) {
        bail!("what was not exercised is not proven: {evidence:?}");
    }
    match evidence.contradictions.first() {
        None => Ok(()),
        Some(first) => bail!("{} contradictions, the first: {first}", evidence.contradictions.len()),
    }
}

fn judge(faults: Vec<Fault>, calls: &[(String, Call)]) -> Evidence {
    let mut by_key: BTreeMap<&str, Vec<Call>> = BTreeMap::new();
    for (key, call) in calls {
        by_key.entry(key).or_default().push(call.clone());
    }
    let all: Vec<_> = calls.iter().map(|(_, call)| call).collect();
    let mut contradictions: Vec<_> = by_key
        .iter()
        .filter_map(|(key, calls)| search::explain(calls).err().map(|found| format!("{key}: {found:?}")))
        .collect();
    contradictions.extend(order::backwards(&all));
    contradictions.extend(order::shared(&all));
    let count = |wanted: fn(&Call) -> bool| all.iter().filter(|call| wanted(call)).count();
    Evidence {
        faults,
        keys: by_key.len(),
        reads: count(|call| call.op == Op::Read),
        writes: count(|call| matches!(call.op, Op::Write(_))),
        swaps: count(|call| matches!(call.op, Op::Swap { .. })),
        swaps_refused: count(|call| call.answer() == Some(Answer::Swapped(false))),
        deletions: count(|call| call.op == Op::Delete),
        unknown: count(|call| call.end == End::Unknown),
        contradictions,
    }
}
