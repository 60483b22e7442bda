//! gRPC client of `flaredb.v1`: queries as typed rows, and the store's status.

mod client;
mod rows;

pub use client::{Client, Error, Query};
pub use holdfast_proto::flaredb::{MigrateResponse, MigrationOutcome, StatusResponse};
pub use rows::{Column, Rows, Table};
