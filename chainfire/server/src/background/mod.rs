//! What goes on without anybody asking.

mod auto_compaction;
mod disarm;
mod removal;
mod watchdog;

pub use auto_compaction::AutoCompaction;
pub(crate) use auto_compaction::compact_regularly;
pub(crate) use disarm::disarm;
pub(crate) use removal::remove_compacted;
pub(crate) use watchdog::watch_over;
