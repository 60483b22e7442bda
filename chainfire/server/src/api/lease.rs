use std::pin::Pin;

use chainfire_core::{
    UserAnswer, UserCommand,
    lease::{self, LeaseGrant, LeaseId, LeaseRevoke},
};
use futures::{Stream, StreamExt as _};
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, lease_server::Lease,
};
use iam_client::KeyAccess;
use tonic::{Request, Response, Status, Streaming};

use super::{Etcd, caller::Caller};
use crate::{Error, store::Done};

type KeepAlives = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Lease for Etcd {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        let caller = Caller::of(request.extensions());
        // A lease has no keys yet; it is of use only to somebody who may write some.
        self.doors.keys.authorize_some_key(&caller.identity, KeyAccess::Write).map_err(Error::from)?;
        let request = request.into_inner();
        let done = self.grant(&caller, request.id, request.ttl).await?;
        let UserAnswer::LeaseGrant { revision, id, ttl } = done.answer else { return Err(Error::mismatch().into()) };
        let header = Some(self.headers().at(revision, done.term));
        Ok(Response::new(LeaseGrantResponse { header, id: id.0, ttl, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let id = LeaseId(request.into_inner().id);
        self.permit_change(&caller, true, |permit| permit.lease(KeyAccess::Write, id)).await?;
        let revoke = UserCommand::LeaseRevoke(LeaseRevoke { id });
        let done = self.store.change(caller.origin(), revoke).await?;
        let UserAnswer::LeaseRevoke { revision } = done.answer else { return Err(Error::mismatch().into()) };
        Ok(Response::new(LeaseRevokeResponse { header: Some(self.headers().at(revision, done.term)) }))
    }

    type LeaseKeepAliveStream = KeepAlives;

    /// One answer for each request, in order.
    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<KeepAlives>, Status> {
        let caller = Caller::of(request.extensions());
        let etcd = self.clone();
        let answers = request.into_inner().then(move |request| {
            let (etcd, caller) = (etcd.clone(), caller.clone());
            async move { Ok(etcd.keep_alive(&caller, LeaseId(request?.id)).await?) }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let id = LeaseId(request.id);
        self.store.barrier().await.map_err(Error::from)?;
        let remaining = self.keeper.remaining(id).await?;
        let view = self.store.view();
        if request.keys {
            self.permit_in(&view, &caller, |permit| permit.lease(KeyAccess::Read, id))?;
        }
        let header = Some(self.header(self.revision_of(&view)?));
        let stored = lease::lease(&view, id).map_err(Error::from)?;
        let Some((stored, remaining)) = stored.zip(remaining) else {
            return Ok(Response::new(LeaseTimeToLiveResponse { header, id: id.0, ttl: -1, ..Default::default() }));
        };
        let keys = if request.keys { lease::keys(&view, id).map_err(Error::from)? } else { Vec::new() };
        let ttl = i64::try_from(remaining.as_secs()).unwrap_or(i64::MAX);
        Ok(Response::new(LeaseTimeToLiveResponse { header, id: id.0, ttl, granted_ttl: stored.ttl, keys }))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let caller = Caller::of(request.extensions());
        self.store.barrier().await.map_err(Error::from)?;
        let leases = self.keeper.list()?;
        self.permit(&caller, |permit| permit.leases(&leases))?;
        let leases = leases.into_iter().map(|id| LeaseStatus { id: id.0 }).collect();
        Ok(Response::new(LeaseLeasesResponse { header: Some(self.current_header()?), leases }))
    }
}

impl Etcd {
    /// Grants `id`, or a lease with an id of this server's choice if it is 0.
    async fn grant(&self, caller: &Caller, id: i64, ttl: i64) -> Result<Done<UserAnswer>, Error> {
        loop {
            let chosen = if id == 0 { draw_id()? } else { LeaseId(id) };
            let grant = UserCommand::LeaseGrant(LeaseGrant { id: chosen, ttl, min_ttl: self.min_ttl });
            match self.store.change(caller.origin(), grant).await {
                Err(Error::LeaseExists) if id == 0 => {}
                done => return done,
            }
        }
    }

    async fn keep_alive(&self, caller: &Caller, id: LeaseId) -> Result<LeaseKeepAliveResponse, Error> {
        // Read before the renewal: whoever sees this revision knows that the lease lived after it.
        let header = Some(self.current_header()?);
        let caller = self.again(caller)?;
        // As this server has it: a renewal ends nothing, and waiting for the others each time is too much for what is
        // asked most often.
        self.permit(&caller, |permit| permit.lease(KeyAccess::Write, id))?;
        let ttl = self.keeper.renew(id).await?;
        if ttl.is_some() {
            self.metrics.lease_renewed.inc();
        }
        // A lease that is not there is an answer, not an error: other leases of the stream go on.
        let ttl = ttl.map_or(0, |ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        Ok(LeaseKeepAliveResponse { header, id: id.0, ttl })
    }
}

/// A random positive id.
fn draw_id() -> Result<LeaseId, Error> {
    let random = getrandom::u64().map_err(|error| Error::Storage(format!("no randomness: {error}")))?;
    Ok(LeaseId((random >> 1).cast_signed().max(1)))
}
