use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Client, Window, closed_loop};
use crate::{
    door::Doors,
    figures::{Figures, Outcome},
};

/// Grants under way at a time.
const AT_ONCE: usize = 64;

/// One stream that renews its leases in turn.
struct Renewer {
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    responses: Streaming<LeaseKeepAliveResponse>,
    leases: Vec<i64>,
    next: usize,
}

impl Client for Renewer {
    async fn ask(&mut self) -> Result<(), Status> {
        let id = self.leases[self.next];
        self.next = (self.next + 1) % self.leases.len();
        let gone = || Status::aborted("the stream ended");
        self.requests.send(LeaseKeepAliveRequest { id }).await.map_err(|_| gone())?;
        let renewed = self.responses.message().await?.ok_or_else(gone)?;
        if renewed.ttl > 0 { Ok(()) } else { Err(Status::not_found("the lease is gone")) }
    }
}

/// Grants `leases`, renews them over `streams` for longer than they live by themselves, and counts those that are left.
pub(crate) async fn keep_alive(
    doors: &Doors,
    streams: usize,
    leases: usize,
    ttl: Duration,
    measured: Duration,
) -> Result<Figures> {
    grant(doors, leases, i64::try_from(ttl.as_secs())?).await.context("granting the leases")?;
    let granted = Instant::now();
    let mut renewers = Vec::new();
    for stream in 0..streams {
        let own: Vec<i64> = (1..=leases as i64).skip(stream).step_by(streams).collect();
        let (requests, asked) = mpsc::channel(1);
        // etcd sends no headers before its first answer.
        requests.send(LeaseKeepAliveRequest { id: own[0] }).await?;
        let mut responses = doors.lease(stream).lease_keep_alive(ReceiverStream::new(asked)).await?.into_inner();
        responses.message().await?;
        renewers.push(Renewer { requests, responses, leases: own, next: 0 });
    }
    // With the warm-up before it, the window is longer than the leases live.
    let figures = closed_loop(renewers, Window::open(measured.max(ttl))).await?;
    let held = granted.elapsed().as_secs_f64();
    let left = doors.lease(0).lease_leases(LeaseLeasesRequest {}).await.context("counting the leases")?;
    let left = left.into_inner().leases.iter().filter(|lease| (1..=leases as i64).contains(&lease.id)).count();
    Ok(Figures { outcome: Some(Outcome::KeptAlive { expired: leases - left, held }), ..figures })
}

/// Grants the leases `1..=count`.
async fn grant(doors: &Doors, count: usize, ttl: i64) -> Result<()> {
    let mut granting = JoinSet::new();
    for worker in 0..AT_ONCE {
        let mut lease = doors.lease(worker);
        granting.spawn(async move {
            for id in (1..=count as i64).skip(worker).step_by(AT_ONCE) {
                lease.lease_grant(LeaseGrantRequest { id, ttl }).await?;
            }
            Ok::<_, Status>(())
        });
    }
    while let Some(done) = granting.join_next().await {
        done??;
    }
    Ok(())
}
