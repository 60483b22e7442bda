//! Signed tokens (RFC 7519): any server that has the public key knows them, also after a restart.
//!
//! The workspace's JWT library has one set of algorithms for a whole process, which is IAM's choice of two; etcd's users
//! may choose among many. So the little that a token needs is here, with ring's signatures.

mod key;
mod method;
mod token;

pub(crate) use key::KeyError;
pub(super) use key::Keys;
pub(super) use method::Method;
pub(crate) use token::Jwt;
