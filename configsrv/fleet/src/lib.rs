//! The fleet model: YAML, validation, compile, signed artifacts.
//!
//! Everything here is a function of its arguments: time comes from the caller, files come through [`repo::Source`], and
//! nothing is remembered between calls.
//!
//! - [`names`], [`spiffe`], [`address`], [`digest`], [`version`], [`duration`]: the words of the model, each with one spelling
//! - [`artifact`]: the envelope that goes to a node; how servers relay it and nodes verify it
//! - [`diff`]: what a change means for a node, and for people

pub mod address;
pub mod artifact;
pub mod diff;
pub mod digest;
pub mod duration;
pub mod names;
pub mod spiffe;
pub mod version;

pub use artifact::{
    ArtifactError, ArtifactErrorKind, Envelope, Gate, Payload, Sealed, Signer, SigningKey, assemble, to_canonical,
};
pub use diff::{Change, Class, classify};
pub use digest::Digest;
pub use duration::Span;
pub use names::{ClusterName, GroupName, NodeName, RoleName, ServiceName, SignerName, UserName};
pub use spiffe::{SpiffeId, Subject};
pub use version::Version;
