//! flaredb as a service: the replicated state machine on its Raft group, SQL over gRPC and the PostgreSQL wire
//! protocol, the history over HTTP, and the shippers that bring every audit event here exactly once.
//!
//! [`Flaredb`] is the handle. An assembled server opens the group with a [`FlaredbMachine`], makes the handle, and
//! runs [`Flaredb::keep_schema`], [`Flaredb::ship_journal`], [`Flaredb::ship_decisions`] and [`pg::serve`] as tasks.

mod access;
mod answer;
mod config;
mod database;
mod grpc;
mod http;
mod machine;
mod migrations;
pub mod pg;
mod ship;
mod wire;

pub use access::{ACCESS, ACCESS_HTTP, READ_ACTION, READ_RESOURCE};
pub use config::Config;
pub use database::{Consistency, Flaredb, Migration, Outcome};
pub use machine::FlaredbMachine;
