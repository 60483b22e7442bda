//! The fast lane of revocation: one signed envelope for the whole cluster, which says who is subtracted from every allow
//! list, whatever version a node runs. It can only narrow, so nodes apply it without a guard.

mod envelope;
mod error;
mod narrow;
mod sealed;
mod sequence;
mod succession;
mod tree;

pub use envelope::{Kind, Revocations};
pub use error::{RevocationError, RevocationErrorKind};
pub use narrow::narrow;
pub use sealed::{MAX_IDS, MAX_REVOCATIONS, SealedRevocations};
pub use sequence::Sequence;
pub use succession::Succession;
pub use tree::Named;

/// Where a repository keeps the envelope that was posted last.
pub const FILE: &str = ".flor/revocations.json";
