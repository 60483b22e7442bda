use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;

use crate::Identity;

/// What a caller presented, taken from the connection and the headers by the layer.
#[derive(Clone, Default)]
pub struct Presented {
    /// `Authorization: Bearer`, or etcd's `token` metadata.
    pub bearer: Option<String>,
    /// `Authorization: Basic`: user and secret.
    pub basic: Option<(String, String)>,
    /// The verified client certificate chain, leaf first, DER.
    pub certificates: Vec<Arc<[u8]>>,
    pub source: Option<SocketAddr>,
}

/// Why a call does not go on. Callers see one text for every cause of `Unauthenticated`; the precise cause is in the
/// audit log only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was presented.
    #[error("authentication is required")]
    Anonymous,
    #[error("authentication failed")]
    Unauthenticated,
    #[error("not permitted: {action} on {resource}")]
    Denied { action: String, resource: String },
    #[error("too many failed attempts; try again in {retry_after_s} s")]
    SlowDown { retry_after_s: u32 },
    #[error("identity is not available: {0}")]
    Unavailable(String),
}

/// The one who knows principals and decides: IAM in this process. Denials are recorded by it.
#[async_trait]
pub trait Authority: Send + Sync + 'static {
    /// Establishes who calls.
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal>;

    /// Decides locally from cached policy; never waits for the network.
    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal>;
}
