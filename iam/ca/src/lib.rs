//! Certificate authorities, requests and chains, and what operators' keys sign, pure: time and serial numbers are arguments.
//!
//! - [`Authority`]: signs intermediates and leaves. Both the operator's offline root and the servers' authority are one.
//! - [`PrivateKey`]: one of either kind, as a file plain or sealed with a password.
//! - [`Anchor`]: what is to be known of a root that is trusted.
//! - [`Intermediate`]: the same of an authority below a root.
//! - [`CertificateRequest`]: what somebody wants certified.
//! - [`SignedGrant`]: what operators grant together in an emergency.
//! - [`verify`]: whether a chain leads to a trusted root, and what its leaf says. [`leads_to`] is the part of it that a
//!   machine can do whose clock may be wrong.
//!
//! The one randomness that is not an argument is that of new keys, of their files' salts and of grants' ids, which is ring's.

mod anchor;
mod authority;
mod chain;
mod constraints;
mod grant;
mod intermediate;
mod key;
mod pem;
mod request;
mod sealed_key;

pub use anchor::Anchor;
pub use authority::{Authority, AuthorityError, Leaf, Root, Signed, Usage, Validity, certificate_id};
pub use chain::{Certified, ChainFault, MAX_INTERMEDIATES, leads_to, verify};
pub use grant::{GRANT_PREFIX, Grant, GrantFault, GrantRules, MAX_GRANT_MS, OperatorKey, SignedGrant};
pub use intermediate::Intermediate;
pub use key::{KeyAlgorithm, PrivateKey};
pub use pem::{certificates_pem, request_pem};
pub use request::{CertificateRequest, RequestError};
pub use sealed_key::KeyFileError;
