//! The gRPC interface: thin, over the same functions as HTTP.

use std::{pin::Pin, time::Duration};

use holdfast_proto::configsrv::{
    GetArtifactRequest, GetArtifactResponse, GetRevocationsRequest, GetRevocationsResponse, ListNodesRequest,
    ListNodesResponse, ListVersionsRequest, ListVersionsResponse, WatchRequest, WatchResponse,
    config_service_server::{ConfigService as Rpc, ConfigServiceServer},
};
use iam_client::{Identity, Refusal};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status as GrpcStatus};

use crate::{ConfigService, Error, readers::calling_node, watch::tell, wire};

const MOST_NODES: usize = 1000;
const MOST_VERSIONS: usize = 200;

/// The service for the API router.
pub fn grpc(service: ConfigService) -> ConfigServiceServer<Server> {
    ConfigServiceServer::new(Server(service))
}

#[derive(Clone)]
pub struct Server(ConfigService);

#[tonic::async_trait]
impl Rpc for Server {
    async fn get_artifact(
        &self,
        request: Request<GetArtifactRequest>,
    ) -> Result<Response<GetArtifactResponse>, GrpcStatus> {
        let identity = caller(&request)?;
        let asked = request.into_inner();
        let wanted = wire::wanted(&asked).map_err(status)?;
        let found = self.0.artifact(&identity, &asked.node, wanted).await.map_err(status)?;
        Ok(Response::new(found.into()))
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, GrpcStatus> {
        self.0.authorize(&caller(&request)?, "config.ReadFleet", "nodes/*").map_err(status)?;
        let asked = request.into_inner();
        let (version, limit) = (wire::version(asked.version).map_err(status)?, wire::limit(asked.limit, MOST_NODES));
        let page = self.0.nodes(version, &asked.after, limit).await.map_err(status)?;
        Ok(Response::new(page.into()))
    }

    async fn list_versions(
        &self,
        request: Request<ListVersionsRequest>,
    ) -> Result<Response<ListVersionsResponse>, GrpcStatus> {
        self.0.authorize(&caller(&request)?, "config.ReadFleet", "versions/*").map_err(status)?;
        let asked = request.into_inner();
        let before = wire::version(asked.before).map_err(status)?;
        let page = self.0.history(before, wire::limit(asked.limit, MOST_VERSIONS)).map_err(status)?;
        Ok(Response::new(page.into()))
    }

    async fn get_revocations(
        &self,
        request: Request<GetRevocationsRequest>,
    ) -> Result<Response<GetRevocationsResponse>, GrpcStatus> {
        let identity = caller(&request)?;
        let wanted = wire::wanted_lane(request.get_ref()).map_err(status)?;
        let found = self.0.revocations(&identity, &wanted).await.map_err(status)?;
        Ok(Response::new(found.into()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, GrpcStatus>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, GrpcStatus> {
        let caller = caller(&request)?;
        let place = self.0.waiting().begin(calling_node(&caller), Duration::MAX).map_err(status)?;
        let (told, versions) = mpsc::channel(1);
        let service = self.0.clone();
        tokio::spawn(async move {
            let _place = place;
            tell(service, caller, told).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(versions))))
    }
}

fn caller<T>(request: &Request<T>) -> Result<Identity, GrpcStatus> {
    request.extensions().get::<Identity>().cloned().ok_or_else(|| status(Refusal::Anonymous.into()))
}

fn status(error: Error) -> GrpcStatus {
    holdfast_rpc::Error::from(error).into()
}
