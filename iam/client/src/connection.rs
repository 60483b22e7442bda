use std::{net::SocketAddr, sync::Arc};

/// What the listener knows of a connection. It inserts this into the extensions of every request.
#[derive(Clone, Debug, Default)]
pub struct ConnectionInfo {
    pub source: Option<SocketAddr>,
    /// The client's certificate chain, leaf first, DER. The handshake has proved possession of the leaf's key; who the
    /// chain belongs to, and whether it is trusted, is the authority's business.
    pub certificates: Vec<Arc<[u8]>>,
}
