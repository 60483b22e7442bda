//! What is sent to nodes: one signed envelope a node, in one spelling (RFC 8785), so that its bytes can be stored in
//! parts, put together again and compared.

mod canonical;
mod envelope;
mod error;
mod payload;
mod schema;
mod sealed;
mod signing;

pub use canonical::{MAX_DEPTH, to_canonical};
pub use envelope::{Envelope, Layer, Plane};
pub use error::{ArtifactError, ArtifactErrorKind};
pub use payload::{
    Activation, Check, Content, DriftPolicy, Egress, File, Ingress, LocalNode, LocalService, LocalUser, Payload, Probe,
    Signer, Sync, Trust, Via,
};
pub use schema::SchemaVersion;
pub use sealed::{Gate, MAX_ARTIFACT, MAX_NODES, MAX_TREE, Sealed, assemble};
pub use signing::{Algorithm, PublicKey, Signature, SigningKey};
