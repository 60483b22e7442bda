//! The file that a backup is.
//!
//! A manifest says what is inside: which cluster, lineage and revision. Then, for each Raft group, follow the frames of
//! its state, which only the servers understand. Each part carries its number and is checked by itself; the last one
//! has the SHA-256 of all bytes before it, so that damage, loss, exchange and a cut anywhere are found.
//!
//! With a passphrase the parts are sealed with AES-256-GCM under a key that PBKDF2 derives for this file alone. The
//! manifest stays readable and is authenticated by every part.
//!
//! Nothing here knows files or networks: [`Writer`] writes to any `Write`, [`Reader`] reads from any `Read`, with memory
//! for one part.

mod error;
mod manifest;
mod part;
mod read;
mod seal;
mod write;

pub use error::Error;
pub use holdfast_passphrase::Passphrase;
pub use manifest::{Group, Manifest, Member};
pub use read::{Item, Reader};
pub use write::Writer;
