use std::time::Duration;

use anyhow::Result;
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Client, Window, closed_loop};
use crate::{door::Doors, figures::Figures};

/// Seconds; long enough for the grants of all.
const TTL: i64 = 600;

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

/// Grants `leases`, renews them over `streams`, and revokes them.
pub(crate) async fn keep_alive(doors: &Doors, streams: usize, leases: usize, measured: Duration) -> Result<Figures> {
    each(leases, doors, |mut lease, id| async move {
        lease.lease_grant(LeaseGrantRequest { id, ttl: TTL }).await.map(drop)
    })
    .await?;
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
    let figures = closed_loop(renewers, Window::open(measured)).await?;
    each(leases, doors, |mut lease, id| async move { lease.lease_revoke(LeaseRevokeRequest { id }).await.map(drop) })
        .await?;
    Ok(figures)
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
