//! How a node gets its identity: a join token, a certificate request, a certificate; and how certificates are judged.

mod chain;
mod join_token;
mod request;

pub use chain::{ChainFault, Peer, verify_chain};
pub use join_token::{JoinToken, JoinTokenError, JoinTokenRecord, MAX_TTL_MS, REPEAT_MS, Redemption};
pub use request::{CertificateRequest, RequestError};
