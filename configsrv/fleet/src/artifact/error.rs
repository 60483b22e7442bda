use crate::{
    digest::Digest,
    names::{ClusterName, NodeName},
    spiffe::SpiffeId,
};

use super::schema::SchemaVersion;

/// Why an artifact is refused. Nothing of a refused artifact is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    #[error("the artifact has {size} bytes, {limit} are allowed")]
    TooLarge { size: usize, limit: usize },
    #[error("the artifact is nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("the bytes are not the RFC 8785 form of the artifact")]
    NotCanonical,
    #[error("a number is not a whole number between -2^53 and 2^53")]
    Number,
    #[error("{0}")]
    Malformed(String),
    #[error("payload_digest says {claimed}, the payload has {actual}")]
    Digest { claimed: Digest, actual: Digest },
    #[error("the {part} has schema {found}, this release reads {supported}: upgrade this program to use the artifact")]
    Schema { part: &'static str, found: SchemaVersion, supported: SchemaVersion },
    #[error("the artifact is for node {found}, not for {expected}")]
    WrongNode { expected: NodeName, found: NodeName },
    #[error("{id} is not in the trust domain {cluster}")]
    WrongCluster { id: SpiffeId, cluster: ClusterName },
    #[error("the artifact is not signed")]
    Unsigned,
    #[error("{0} is not a trusted signer")]
    UnknownSigner(SpiffeId),
    #[error("the signature by {0} does not match the artifact")]
    BadSignature(SpiffeId),
    #[error("the signing key cannot be used: {0}")]
    Key(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactErrorKind {
    /// The bytes are no artifact.
    Malformed,
    /// A newer release wrote it.
    Schema,
    /// It is not signed by a key that counts.
    Trust,
    /// It is for somebody else.
    Addressee,
}

impl ArtifactError {
    pub fn kind(&self) -> ArtifactErrorKind {
        match self {
            Self::TooLarge { .. }
            | Self::TooDeep { .. }
            | Self::NotJson(_)
            | Self::NotCanonical
            | Self::Number
            | Self::Malformed(_)
            | Self::Digest { .. } => ArtifactErrorKind::Malformed,
            Self::Schema { .. } => ArtifactErrorKind::Schema,
            Self::WrongNode { .. } | Self::WrongCluster { .. } => ArtifactErrorKind::Addressee,
            Self::Unsigned | Self::UnknownSigner(_) | Self::BadSignature(_) | Self::Key(_) => ArtifactErrorKind::Trust,
        }
    }
}
