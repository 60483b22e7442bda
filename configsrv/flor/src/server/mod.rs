//! The config server as the agent needs it.

mod answer;
mod api;
mod door;
mod http;
mod receipt;
mod report;
mod route;
#[cfg(test)]
mod tests;
mod tls;
mod token;

use std::time::Duration;

use async_trait::async_trait;
use configsrv_fleet::{Payload, Sequence, Version};

pub(crate) use api::{connect, refused};
pub(crate) use http::HttpServer;
pub(crate) use report::{Report, ReportedDrift};
pub(crate) use tls::{Credentials, read_certificates};

use crate::{Error, machine::Target};

#[async_trait]
pub(crate) trait Server: Send + Sync {
    /// This node's current artifact, unless it is the one that the node has. Until there is another one, the answer may take
    /// `patience`.
    async fn fetch(&self, have: Option<Version>, patience: Duration, intent: Intent) -> Result<Offered, Error>;

    /// This node's artifact of one version, for a look.
    async fn exact(&self, version: Version) -> Result<Vec<u8>, Error>;

    /// The revocations, unless they are those that the node has. Until there are others, the answer may take `patience`.
    async fn revocations(&self, have: Sequence, patience: Duration) -> Result<Option<Vec<u8>>, Error>;

    /// Says which revocations count on this node.
    async fn revoked(&self, sequence: Sequence) -> Result<(), Error>;

    /// From now on the servers are where an active artifact says.
    fn follow(&self, active: Option<&Payload>);

    /// Says how far this node is.
    async fn report(&self, report: &Report) -> Result<(), Error>;

    /// Shows that the server is reached over a connection that is opened now, and that it published `target` for this
    /// node: by the way that the active artifact names itself, and no other. What a person brought here (`carried`) the
    /// server need not know. The report says what runs meanwhile.
    async fn prove(&self, target: Target, carried: bool, report: Report) -> Result<(), Error>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Sync,
    DryRun,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The server has what the node has.
    Nothing,
    Artifact(Vec<u8>),
}
