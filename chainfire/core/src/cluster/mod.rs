//! What the cluster is: its genesis, its lineages, the feature level and the limits that its members agree on.

mod command;
mod record;
mod restored;
mod store;

pub use command::{ClusterAnswer, ClusterCommand, GenesisCommand, NewLineage};
pub use record::{Genesis, Limits, Lineage, Member, State};
pub use restored::prepare;
pub(crate) use store::{Beginning, apply, begin, lineage_ordinal};
pub use store::{genesis, lineages, state};
