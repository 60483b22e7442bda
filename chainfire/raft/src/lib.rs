//! Raft for Holdfast: the adapter between openraft, RocksDB and the pure state machines.
//!
//! A [`Node`] is one server: its identity, one log for all its Raft groups, the peer port. On it run [`Group`]s, each
//! with a [`Machine`] and a [`StateDb`]. No type of openraft or RocksDB leaves this crate, and nothing that openraft
//! defines is stored: see `format`.
//!
//! - `log`: entries and votes in one RocksDB; one thread syncs for everybody.
//! - `state`: the applied state, without a log of its own; views and snapshots of it.
//! - `machine`: applies committed entries, a batch at a time.
//! - `network`: what servers say to each other, over mutual TLS.
//! - `genesis`: how a cluster begins, and who may take part; `restore`: how it begins with the state of another;
//!   `rejoin`: how a server that lost its disk comes back; `stall`: what one does whose disk hangs.
//! - `group`, `node`: what services hold.

mod config;
mod error;
mod format;
mod genesis;
mod group;
mod id;
mod log;
mod machine;
mod metrics;
mod network;
mod node;
pub mod peer_ca;
mod rejoin;
mod restore;
mod runtime;
#[cfg(test)]
mod sim;
mod stall;
mod state;
mod status;
mod types;
mod witness;

pub use config::{Cluster, FatalHook, GroupConfig, Limits, Member, NodeConfig, PeerTls, PeerTrust, Timing};
pub use error::{Error, ProposeError, ReadError, TransferError};
pub use genesis::{Founder, Founding};
pub use group::{Committed, Desk, Group};
pub use id::{GroupId, Incarnation, Position, RaftId, Slot};
pub use machine::{Applied, Halt, Machine};
pub use metrics::{GroupMetrics, NodeMetrics, PeerMetrics};
pub use node::Node;
pub use restore::{Restore, Restoring};
pub use stall::Stall;
pub use state::{Frames, OwnedScan, StateDb, View};
pub use status::Status;

/// Directives for a log filter that leave of openraft what an operator can use. What it says each time a message does
/// not arrive, several times a second, this crate says when it changes.
pub const LOG_DIRECTIVES: &str = "openraft=warn,openraft::replication=error,openraft::core=error,\
                                  openraft::engine::handler::replication_handler=error";
