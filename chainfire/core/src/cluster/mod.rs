//! What the cluster is: its genesis, its lineages, the feature level and the limits that its members agree on.

mod command;
mod record;
mod store;

pub use command::{ClusterAnswer, ClusterCommand, GenesisCommand, NewLineage};
pub use record::{Genesis, Limits, Lineage, Member, State};
pub(crate) use store::{apply, begin, lineage_ordinal};
pub use store::{genesis, lineages, state};
