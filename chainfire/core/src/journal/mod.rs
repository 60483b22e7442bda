//! The audit journal: one record for each change that must be answered for, written in the same batch as the change.
//!
//! Records stay until a replicated `AuditShipped` says that the history has them; compaction does not touch them. The
//! journal has a budget: at half of it operators are warned; when it is spent, user writes that would need a record
//! are refused, while system and cluster commands go on in a reserve.

mod digest;
mod policy;
mod record;
mod recorder;
mod store;

pub use policy::{AuditLevel, AuditPolicy, AuditRule};
pub use record::{JournalPosition, JournalRecord, Outcome};
pub use store::{Usage, after, policy, usage};

pub(crate) use digest::sha256;
pub(crate) use recorder::{Entry, Recorder};
pub(crate) use store::{set_policy, truncate};
