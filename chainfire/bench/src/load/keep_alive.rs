use std::time::{Duration, Instant};

use anyhow::Result;
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseRevokeRequest,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{Client, Window, closed_loop};
use crate::{
    door::Doors,
    figures::{Figures, Outcome},
};

/// Grants and revocations under way at a time.
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

/// Grants `leases`, renews them over `streams` for longer than they live by themselves, counts those that are left,
/// and revokes them.
pub(crate) async fn keep_alive(
    doors: &Doors,
    streams: usize,
    leases: usize,
    ttl: Duration,
    measured: Duration,
) -> Result<Figures> {
    let seconds = i64::try_from(ttl.as_secs())?;
    each(leases, doors, move |mut lease, id| async move {
        lease.lease_grant(LeaseGrantRequest { id, ttl: seconds }).await.map(drop)
    })
    .await?;
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
    let expired = leases - left(doors, leases).await?;
    each(leases, doors, |mut lease, id| async move {
        match lease.lease_revoke(LeaseRevokeRequest { id }).await {
            Err(status) if status.code() != Code::NotFound => Err(status),
            _ => Ok(()),
        }
    })
    .await?;
    Ok(Figures { outcome: Some(Outcome::KeptAlive { expired, held }), ..figures })
}

/// How many of the leases `1..=count` there are.
async fn left(doors: &Doors, count: usize) -> Result<usize> {
    let all = doors.lease(0).lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    Ok(all.iter().filter(|lease| (1..=count as i64).contains(&lease.id)).count())
}

type Leases = holdfast_proto::etcdserverpb::lease_client::LeaseClient<crate::door::Wire>;

/// Does something with each of the leases `1..=count`.
async fn each<F>(count: usize, doors: &Doors, act: impl Fn(Leases, i64) -> F + Clone + Send + 'static) -> Result<()>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let mut acting = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (lease, act) = (doors.lease(worker), act.clone());
        let own = (1..=count as i64).skip(worker).step_by(AT_ONCE).collect::<Vec<_>>();
        let acts: Vec<F> = own.into_iter().map(|id| act(lease.clone(), id)).collect();
        acting.spawn(async move {
            for act in acts {
                act.await?;
            }
            Ok::<_, Status>(())
        });
    }
    while let Some(done) = acting.join_next().await {
        done??;
    }
    Ok(())
}
