//! chainfire: the etcd v3 API on a replicated, fixed-membership store.
//!
//! [`Chainfire::open`] puts the state machine on a Raft group of a node; [`Chainfire::routes`] are the etcd services,
//! [`Chainfire::system`] and [`Chainfire::journal`] what the other services of the process use. [`dropin`] is a whole
//! server of its own that takes etcd's flags.
//!
//! - `machine`: the pure core on Raft; what it did reaches watchers, clocks and services from here.
//! - `store`: typed proposals and reads.
//! - `api`: the services; `wire`: their messages; `permit`: who may touch which keys.
//! - `users`: etcd's own authentication, in the drop-in server.
//! - `memory`: what calls may take of it.
//! - `gateway`: the same services in JSON.
//! - `watch`: the hub, streams, and catching up from the disk.
//! - `integrity`: whether all members hold the same.
//! - `lease`: clocks, keep-alives, expiry.
//! - `snapshot`, `backup`: copies of everything; [`restore`]: what becomes of them.
//! - `background`: removal of compacted rows, regular compaction, warnings.

mod access;
mod api;
mod background;
mod backup;
mod chainfire;
mod desk;
mod directory;
pub mod dropin;
mod error;
mod gateway;
mod http;
mod integrity;
mod lease;
mod machine;
mod members;
mod memory;
mod metrics;
mod permit;
mod profile;
mod request;
pub mod restore;
mod snapshot;
mod store;
mod users;
mod watch;
mod wire;

pub use access::{ACCESS, Open};
pub use api::Doors;
pub use background::AutoCompaction;
pub use chainfire::{Chainfire, Config, Foundation};
pub use error::Error;
pub use gateway::{Gateway, GatewayError};
pub use machine::ChainfireMachine;
pub use members::{ClusterId, Member, MemberId, Members};
pub use profile::Profile;
pub use store::Limits;
pub use users::{AuthSettings, AuthTokenError};
