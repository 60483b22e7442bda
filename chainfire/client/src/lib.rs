//! How in-process services keep their state in chainfire: typed commands, local reads at an applied index, a watch.
//!
//! The server implements [`SystemStore`] and [`JournalSource`] on the Raft group; [`memory::MemoryStore`] runs the same
//! pure state machine in memory for tests. IAM, configsrv and the shipper know nothing of Raft.

mod error;
mod journal;
pub mod memory;
mod system;

pub use chainfire_core::{
    cluster::Lineage,
    system::{Page, Record},
};
pub use error::{Refused, StoreError};
pub use journal::JournalSource;
pub use system::{Applied, SystemStore};
