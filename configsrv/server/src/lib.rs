//! Distribution of configuration: operators publish a signed tree as the next version of the whole cluster, every
//! node fetches its own artifact, and what nodes fetched and report is one place to look. The reboot lock lives here
//! too.
//!
//! State is in chainfire's system keyspace, so every server answers everything and none is special:
//!
//! | key | holds |
//! |---|---|
//! | `config/current` | which version nodes may ask for |
//! | `config/tree/VERSION` | that version's line of history |
//! | `config/set/SET/NODE` | an artifact without its payload |
//! | `config/payload/DIGEST`, `config/chunk/DIGEST/N` | payloads, once a digest |
//! | `config/signers` | whose signatures are admitted |
//! | `config/revocations` | who is subtracted from every allow list |
//! | `config/staging` | the publish under way |
//! | `config/fetched/NODE`, `config/status/NODE` | what a node was served, and what it says |
//! | `config/revoked/NODE` | which revocations it has applied |
//!
//! A publish stores everything under content-derived keys first; then one transaction makes it current.

mod access;
mod ahead;
mod artifacts;
mod census;
mod changes;
mod collect;
mod error;
pub mod fleetlock;
mod grpc;
mod history;
mod http;
mod keys;
mod metrics;
mod nodes;
mod notes;
mod offers;
mod parallel;
mod publish;
mod readers;
mod record;
mod reports;
mod revocations;
mod service;
mod settings;
mod standing;
mod store;
mod submission;
mod versions;
mod waiting;
mod watch;
mod wire;

pub use access::{ACCESS_FLEETLOCK_AUTHENTICATED, ACCESS_FLEETLOCK_OPEN, ACCESS_GRPC, ACCESS_HTTP};
pub use error::Error;
pub use grpc::{Server as GrpcServer, grpc};
pub use http::router;
pub use metrics::Metrics;
pub use record::{Carried, Drift, Failed, Fetch, Fetched, Reached, Released, Status, SyncResult, Tree};
pub use service::ConfigService;
pub use settings::{ClientAuth, Limits, LockSettings, Settings, Waits};
