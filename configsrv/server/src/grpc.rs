//! The gRPC interface: thin, over the same functions as HTTP.

use std::pin::Pin;

use configsrv_fleet::Version;
use holdfast_proto::configsrv::{
    self as wire,
    config_service_server::{ConfigService as Rpc, ConfigServiceServer},
};
use iam_client::Identity;
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status as GrpcStatus};

use crate::{
    ConfigService, Error,
    artifacts::{Intent, Wanted},
    nodes::NodeView,
    record::{Fetch, Status, Tree},
};

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
        request: Request<wire::GetArtifactRequest>,
    ) -> Result<Response<wire::GetArtifactResponse>, GrpcStatus> {
        let identity = caller(&request)?;
        let asked = request.into_inner();
        let wanted = Wanted {
            version: version(asked.version)?,
            have: version(asked.have)?,
            intent: if asked.dry_run { Intent::DryRun } else { Intent::Sync },
            ..Wanted::default()
        };
        let found = self.0.artifact(&identity, &asked.node, wanted).await.map_err(status)?;
        Ok(Response::new(wire::GetArtifactResponse {
            version: found.version.get(),
            payload_digest: found.digest.to_string(),
            artifact: found.bytes,
        }))
    }

    async fn list_nodes(
        &self,
        request: Request<wire::ListNodesRequest>,
    ) -> Result<Response<wire::ListNodesResponse>, GrpcStatus> {
        self.0.authorize(&caller(&request)?, "config.ReadFleet", "nodes/*").map_err(status)?;
        let asked = request.into_inner();
        let page =
            self.0.nodes(version(asked.version)?, &asked.after, limit(asked.limit, MOST_NODES)).map_err(status)?;
        Ok(Response::new(wire::ListNodesResponse {
            version: page.version.get(),
            nodes: page.nodes.into_iter().map(node).collect(),
            more: page.more,
        }))
    }

    async fn list_versions(
        &self,
        request: Request<wire::ListVersionsRequest>,
    ) -> Result<Response<wire::ListVersionsResponse>, GrpcStatus> {
        self.0.authorize(&caller(&request)?, "config.ReadFleet", "versions/*").map_err(status)?;
        let asked = request.into_inner();
        let page = self.0.history(version(asked.before)?, limit(asked.limit, MOST_VERSIONS)).map_err(status)?;
        Ok(Response::new(wire::ListVersionsResponse {
            current: page.current.get(),
            versions: page.versions.into_iter().map(tree).collect(),
            more: page.more,
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::WatchResponse, GrpcStatus>> + Send>>;

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Result<Response<Self::WatchStream>, GrpcStatus> {
        caller(&request)?;
        let versions =
            WatchStream::new(self.0.versions()).map(|version| Ok(wire::WatchResponse { version: version.get() }));
        Ok(Response::new(Box::pin(versions)))
    }
}

fn caller<T>(request: &Request<T>) -> Result<Identity, GrpcStatus> {
    request.extensions().get::<Identity>().cloned().ok_or_else(|| status(Error::Unauthenticated))
}

fn status(error: Error) -> GrpcStatus {
    holdfast_rpc::Error::from(error).into()
}

fn version(number: Option<u64>) -> Result<Option<Version>, GrpcStatus> {
    number.map(Version::new).transpose().map_err(|error| status(Error::BadQuery(error.to_string())))
}

/// 0 asks for the default.
fn limit(asked: u32, most: usize) -> usize {
    match usize::try_from(asked) {
        Ok(0) | Err(_) => most,
        Ok(asked) => asked.min(most),
    }
}

fn node(view: NodeView) -> wire::Node {
    wire::Node {
        name: view.name,
        published: view.published,
        stale: view.stale,
        fetched: view.fetched.map(|Fetch { version, at_ms }| wire::Fetch { version: version.get(), time_ms: at_ms }),
        reported: view.reported.map(node_status),
    }
}

fn node_status(status: Status) -> wire::NodeStatus {
    wire::NodeStatus {
        offered: status.offered.map(Version::get),
        active: status.active.map(Version::get),
        pending: status.pending.map(Version::get),
        confirmed: status.confirmed.map(Version::get),
        rolled_back: status.rolled_back.map(Version::get),
        digest: status.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        deadline_ms: status.deadline_ms,
        result: status.result.map(|result| result.as_str().to_owned()).unwrap_or_default(),
        reason: status.reason.unwrap_or_default(),
        time_ms: status.reported_ms,
    }
}

fn tree(tree: Tree) -> wire::Version {
    wire::Version {
        version: tree.version.get(),
        tree_digest: tree.tree_digest.to_string(),
        nodes: tree.nodes,
        published_ms: tree.published_ms,
        published_by: tree.published_by,
        note: tree.note.unwrap_or_default(),
        git_commit: tree.git_commit.unwrap_or_default(),
        pruned: tree.pruned,
    }
}
