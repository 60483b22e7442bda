//! Listeners and errors: what every network door of Holdfast shares.
//!
//! A listener serves one axum router over HTTP/1.1 and HTTP/2 on the same port, in plaintext or TLS, and puts a
//! [`Connection`] into the extensions of each request. Errors are transport-free ([`Error`]) and become a gRPC status
//! or an HTTP answer in exactly one place each.

mod accept;
mod advice;
mod authority;
mod complaints;
mod entrance;
mod error;
mod listener;
mod modest;
mod offer;
mod presented;
mod rate_limit;
mod sessions;
mod strangers;
mod tls;

pub use accept::accept;
pub use advice::handshake_advice;
pub use complaints::Complaints;
pub use error::{Error, Kind};
pub use listener::{Connection, KnownBy, Limits, serve};
pub use offer::{TlsOffer, TlsVersion};
pub use rate_limit::{Rate, RateLimit, Wait};
pub use sessions::{Guest, Sessions};
pub use strangers::{Standing, Weight};
pub use tls::{ClientAuth, ServerTls, TlsError, TlsFiles};
