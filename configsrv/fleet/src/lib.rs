//! The fleet model: YAML, validation, compile, signed artifacts.
//!
//! Everything here is a function of its arguments: time comes from the caller, files come through [`repo::Source`], and
//! nothing is remembered between calls. Only [`ca`] makes random keys.
//!
//! The way of a change: [`repo`] reads files and keeps places, [`validate()`] applies the rules, [`fleet`] resolves what
//! passed, [`compile()`] makes and signs [`artifact`]s, [`diff`] says what they change, [`plan`] how to go about it.
//! [`revocation`] is the way past all of it for those who must lose their access now.

pub mod address;
pub mod artifact;
pub mod bundle;
pub mod ca;
pub mod compile;
pub mod diff;
pub mod digest;
pub mod duration;
pub mod enrollment;
pub mod finding;
pub mod fleet;
pub mod hosts;
pub mod names;
mod nearest;
mod phase;
pub mod pki;
pub mod plan;
mod probe;
pub mod provision;
pub mod repo;
pub mod reserved;
pub mod revocation;
pub mod schema;
pub mod spiffe;
pub mod template;
pub mod validate;
pub mod version;
mod yaml;

pub use artifact::{
    ArtifactError, ArtifactErrorKind, Envelope, Gate, Payload, Sealed, Signer, SigningKey, assemble, to_canonical,
};
pub use compile::{Compiled, Manifest, Outcome, Stamp, Tree, compile};
pub use diff::{AccessDelta, Change, Class, TreeDiff, classify};
pub use digest::Digest;
pub use duration::Span;
pub use finding::{Finding, Rule, Severity};
pub use fleet::Fleet;
pub use names::{ClusterName, GroupName, NodeName, ProbeName, RoleName, ServiceName, SignerName, UserName};
pub use nearest::nearest;
pub use phase::Phase;
pub use plan::Plan;
pub use repo::{Repo, Selection, load, load_from};
pub use revocation::{Revocations, SealedRevocations, Sequence};
pub use spiffe::{SpiffeId, Subject};
pub use validate::{lockout, revoked, validate};
pub use version::Version;
