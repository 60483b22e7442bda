//! SQL over flaredb's tables: statements are classified and parsed here, queries are planned and executed by
//! DataFusion on one consistent snapshot, streaming, inside limits of memory, time, rows and bytes.
//!
//! The snapshot is anything that reads a keyspace, so the same code runs on RocksDB and in memory.

mod batch;
mod bounded;
mod bounds;
mod catalog;
mod cells;
mod checked;
mod columns;
pub mod ddl;
mod engine;
mod error;
mod limits;
mod pg_catalog;
mod query;
mod scan;
mod statement;
mod table;

use std::sync::Arc;

pub use cells::Cells;
pub use columns::{OutputColumn, sql_type};
pub use engine::Engine;
pub use error::Error;
use holdfast_keyspace::Read;
pub use limits::{Budget, Limits};
pub use query::{Described, MakeValues, Rows, parameter_from_text};
pub use statement::{Session, Statement, parse};

/// The state that a query runs on. It must not change while it is held.
pub type Snapshot = Arc<dyn Read + Send + Sync>;
