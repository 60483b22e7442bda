//! How a node gets its identity: a join token, a certificate; and whom certificates name.

mod join_token;
mod peer;

pub use join_token::{JoinToken, JoinTokenError, JoinTokenRecord, MAX_TTL_MS, REPEAT_MS, Redemption};
pub use peer::{Peer, PeerFault, Standards, TrustedRoot, verify_peer};
