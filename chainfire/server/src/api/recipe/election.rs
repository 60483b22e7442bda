use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use holdfast_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
    ResignRequest, ResignResponse, election_server::Election,
};
use tonic::{Request, Response, Status};

use super::{
    Inside, Line, Place, observe,
    place::found,
    presence::{Absent, attended},
};
use crate::{Error, api::Etcd};

#[tonic::async_trait]
impl Election for Etcd {
    async fn campaign(&self, request: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        let inside = Inside::of(self, &request);
        let request = request.into_inner();
        attended(|absent| async move { campaign(&inside, request, absent).await }).await.map(Response::new)
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        let inside = Inside::of(self, &request);
        let ProclaimRequest { leader, value } = request.into_inner();
        let LeaderKey { key, rev, lease, .. } = leader.ok_or(Error::MissingLeader)?;
        let lease = inside.session(lease).await?;
        let answer = Place { key, revision: rev }.replace(&inside, value, lease).await?;
        if !answer.succeeded {
            return Err(Error::NotElected.into());
        }
        Ok(Response::new(ProclaimResponse { header: answer.header }))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let inside = Inside::of(self, &request);
        let oldest = inside.range(Line::of(&request.into_inner().name).oldest()).await?;
        let kv = oldest.kvs.into_iter().next().ok_or(Error::NobodyElected)?;
        Ok(Response::new(LeaderResponse { header: oldest.header, kv: Some(kv) }))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        let inside = Inside::of(self, &request);
        let line = Line::of(&request.into_inner().name);
        Ok(Response::new(Box::pin(observe::leaders(inside, line))))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        let inside = Inside::of(self, &request);
        let LeaderKey { key, rev, .. } = request.into_inner().leader.ok_or(Error::MissingLeader)?;
        let answer = Place { key, revision: rev }.leave(&inside).await?;
        Ok(Response::new(ResignResponse { header: answer.header }))
    }
}

async fn campaign(inside: &Inside, request: CampaignRequest, absent: Absent) -> Result<CampaignResponse, Status> {
    let CampaignRequest { name, lease, value } = request;
    let line = Line::of(&name);
    let lease = inside.session(lease).await?;
    let (place, answer) = Place::take(inside, line.key(lease), value.clone(), lease, &[]).await?;
    // Who stands there already says something new.
    let outdated = found(answer.responses.first()).is_some_and(|standing| standing.value != value);
    let elected = async {
        if outdated {
            proclaim(inside, &place, value, lease).await?;
        }
        line.wait(inside, &place).await?;
        place.held(inside).await?.ok_or_else(|| Status::from(Error::NotElected))
    };
    absent.or(elected, place.leave(inside)).await?;
    let leader = LeaderKey { name, key: place.key.clone(), rev: place.revision, lease };
    Ok(CampaignResponse { header: answer.header, leader: Some(leader) })
}

async fn proclaim(inside: &Inside, place: &Place, value: Bytes, lease: i64) -> Result<(), Status> {
    if place.replace(inside, value, lease).await?.succeeded { Ok(()) } else { Err(Error::NotElected.into()) }
}
