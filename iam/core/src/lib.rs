//! Principals, roles, policy, keys and tokens, pure: time and entropy are arguments.
//!
//! - [`startup`]: what a server demands of its environment before it starts.
//! - [`record`]: what IAM stores, under which keys, in which format.
//! - [`rotation`]: the states and steps of everything that rotates, and the jobs that take them.
//! - [`seal`]: secrets at rest under the master key. [`master`]: which key that is, while one takes the other's place.
//! - [`signing`]: keys, the key ring, JWKS, tokens.
//! - [`policy`]: roles compiled to Cedar policies, decisions, rights on key ranges.
//! - [`credential`]: access keys and their overlap rule.
//! - [`groups`]: how groups are in groups.
//! - [`enrol`]: join tokens, and whom certificates name.
//! - [`mapping`]: whom certificates name by other names than their SPIFFE id.
//! - [`Scope`]: organisations and projects.
//! - [`restored`]: what a restore leaves to be approved.
//! - [`trust`]: authorities that are trusted, certificates that are denied.
//! - [`verifier`]: what servers and other verifiers say that they enforce.
//!
//! The one randomness that is not an argument is ring's own nonce for ECDSA signatures.

pub mod credential;
pub mod credential_use;
pub mod enrol;
pub mod groups;
pub mod idempotency;
pub mod mapping;
pub mod master;
pub mod policy;
mod principal;
pub mod record;
pub mod restored;
pub mod rotation;
mod scope;
pub mod seal;
pub mod secret;
pub mod signing;
pub mod startup;
pub mod trust;
pub mod verifier;

pub use principal::{Kind, NameError, PrincipalId, Subject, TrustDomain, check_name};
pub use scope::{Scope, ScopeError};
