use std::{net::SocketAddr, sync::Arc};

/// Names a request in logs, audit rows and its answer; the layer puts it into the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// What the listener knows of a connection. It inserts this into the extensions of every request.
#[derive(Clone, Debug, Default)]
pub struct ConnectionInfo {
    pub source: Option<SocketAddr>,
    /// The client's certificate chain, leaf first, DER. The handshake has proved possession of the leaf's key; who the
    /// chain belongs to, and whether it is trusted, is the authority's business.
    pub certificates: Vec<Arc<[u8]>>,
}
