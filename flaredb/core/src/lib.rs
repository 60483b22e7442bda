//! flaredb's replicated state machine, pure: a catalog of tables, rows under order-preserving keys, numbered
//! migrations, and event streams that are ingested exactly once. Time and origin come inside the command.
//!
//! Two kinds of failure never mix. A [`Refusal`] is an answer: replicated, with a SQLSTATE, and the command has no
//! effect. A [`Damage`] means that stored or replicated bytes are not what this release can work with: the server
//! stops rather than guesses.

pub mod apply;
pub mod audit;
pub mod catalog;
pub mod command;
mod error;
pub mod key;
pub mod migration;
pub mod row;
mod sqlstate;
pub mod store;
mod value;

pub use catalog::{Catalog, Column, ColumnType, Table, TableName};
pub use command::{Answer, Author, Command, Envelope, Ingest, Migrate};
pub use error::{Damage, Refusal};
pub use migration::{MigrationFile, MigrationRecord, MigrationSet, Phase};
pub use sqlstate::SqlState;
pub use value::{Value, ValueRef};
