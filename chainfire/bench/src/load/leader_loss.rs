use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use holdfast_proto::etcdserverpb::{PutRequest, StatusRequest};
use holdfast_testkit::eventually;
use tokio::task::JoinSet;
use tonic::Status;

use super::keys::{key, value};
use crate::{
    door::Doors,
    figures::{Figures, Outcome, Tally},
    subject::Subject,
};

/// How often the writer sends a put to the next member. It does not wait for the answer before: a put that a member
/// still keeps for the dead leader must not hide that another is acknowledged.
const PACE: Duration = Duration::from_millis(10);

/// The longest that a cluster may be without a leader.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills the leader `rounds` times. What counts is the time from each kill to the first acknowledged put.
pub(crate) async fn leader_loss(subject: &mut Subject, rounds: usize, bytes: usize) -> Result<Figures> {
    let mut tally = Tally::new();
    for _ in 0..rounds {
        let members = subject.entrance.urls.len();
        let doors = Doors::open(&subject.entrance, members).await?;
        let leader = leader(&doors, members).await?;
        let others: Vec<usize> = (0..members).filter(|member| *member != leader).collect();
        let put = PutRequest { key: key(0), value: value(bytes), ..Default::default() };
        for other in &others {
            doors.kv(*other).put(put.clone()).await?;
        }
        let killed = Instant::now();
        subject.kill(leader)?;
        acknowledged(&doors, &others, &put).await?;
        tally.took(killed.elapsed());
        subject.revive(leader).await?;
    }
    let figures = tally.figures(Duration::from_secs(1));
    let outcome = Some(Outcome::LeaderLoss { median: figures.p50, worst: figures.p99 });
    Ok(Figures { per_second: 0.0, outcome, ..figures })
}

/// The member that all of them hold for the leader.
async fn leader(doors: &Doors, members: usize) -> Result<usize> {
    eventually("a leader that all members know", PATIENCE, async || {
        let mut leader = None;
        let mut known = Vec::new();
        for member in 0..members {
            let Ok(status) = doors.maintenance(member).status(StatusRequest {}).await else { return Ok(None) };
            let status = status.into_inner();
            known.push(status.leader);
            if status.header.is_some_and(|header| header.member_id == status.leader) {
                leader = Some(member);
            }
        }
        known.dedup();
        Ok(leader.filter(|_| known.len() == 1))
    })
    .await
}

/// Sends puts to `others` in turn until one is acknowledged.
async fn acknowledged(doors: &Doors, others: &[usize], put: &PutRequest) -> Result<()> {
    let begun = Instant::now();
    let mut pace = tokio::time::interval(PACE);
    let mut sent = JoinSet::<Result<(), Status>>::new();
    let mut turns = others.iter().cycle();
    loop {
        tokio::select! {
            Some(answer) = sent.join_next() => if answer?.is_ok() { return Ok(()) },
            _ = pace.tick() => {
                if begun.elapsed() > PATIENCE {
                    bail!("no put was acknowledged after the leader's end");
                }
                if let Some(member) = turns.next() {
                    let (mut kv, put) = (doors.kv(*member), put.clone());
                    sent.spawn(async move { kv.put(put).await.map(drop) });
                }
            }
        }
    }
}
