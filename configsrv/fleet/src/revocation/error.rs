use crate::{artifact::SchemaVersion, names::ClusterName, spiffe::SpiffeId, version::Version};

use super::Sequence;

/// Why a revocation envelope is refused. Nothing of a refused one is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    #[error("the revocations have {size} bytes, {limit} are allowed")]
    TooLarge { size: usize, limit: usize },
    #[error("{count} ids are named, {limit} are allowed: publish a version without them and settle them")]
    TooMany { count: usize, limit: usize },
    #[error("the revocations are not understood: {0}")]
    Malformed(String),
    #[error("the bytes are not the RFC 8785 form of the revocations")]
    NotCanonical,
    #[error("the revocations have schema {found}, this release reads {supported}: upgrade this program to use them")]
    Schema { found: SchemaVersion, supported: SchemaVersion },
    #[error("{id} is not in the trust domain {cluster}")]
    WrongCluster { id: SpiffeId, cluster: ClusterName },
    #[error("the revocations are for the cluster {found}, not for {expected}")]
    OtherCluster { expected: ClusterName, found: ClusterName },
    #[error("the revocations are not signed")]
    Unsigned,
    #[error("{0} is not a trusted signer")]
    UnknownSigner(SpiffeId),
    #[error("the signature by {0} does not match the revocations")]
    BadSignature(SpiffeId),
    #[error("{0} is needed to reach the servers or to publish; name it in allow_lockout if it must go nevertheless")]
    OwnWay(SpiffeId),
    #[error(
        "no operator would be left who reaches config-publisher; name one of {0} in allow_lockout if that is meant"
    )]
    LastOperator(String),
    #[error("sequence {offered} is not above {known}: refused as a replay")]
    GoesBack { known: Sequence, offered: Sequence },
    #[error("sequence {0} has other content than the sequence {0} that is known")]
    SameSequence(Sequence),
    #[error("{0} was revoked and is left out: keep it, or settle it with a version that does not name it")]
    Forgets(SpiffeId),
    #[error("{id} was settled with version {before}, which must not become version {after}")]
    Unsettles { id: SpiffeId, before: Version, after: Version },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationErrorKind {
    /// The bytes are no revocations.
    Malformed,
    /// A newer release wrote them.
    Schema,
    /// They are not signed by a key that counts.
    Trust,
    /// They are for somebody else.
    Addressee,
    /// They would take away what cannot be given back from afar.
    Lockout,
    /// They do not follow what is known.
    Order,
}

impl RevocationError {
    pub fn kind(&self) -> RevocationErrorKind {
        match self {
            Self::TooLarge { .. } | Self::TooMany { .. } | Self::Malformed(_) | Self::NotCanonical => {
                RevocationErrorKind::Malformed
            }
            Self::Schema { .. } => RevocationErrorKind::Schema,
            Self::Unsigned | Self::UnknownSigner(_) | Self::BadSignature(_) => RevocationErrorKind::Trust,
            Self::WrongCluster { .. } | Self::OtherCluster { .. } => RevocationErrorKind::Addressee,
            Self::OwnWay(_) | Self::LastOperator(_) => RevocationErrorKind::Lockout,
            Self::GoesBack { .. } | Self::SameSequence(_) | Self::Forgets(_) | Self::Unsettles { .. } => {
                RevocationErrorKind::Order
            }
        }
    }
}
