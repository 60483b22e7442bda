//! What tables there are. Tables change by addition only: a column keeps its place for ever, so that rows written
//! under any earlier schema version stay readable without a rewrite.

mod alteration;
mod name;
mod table;
mod types;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use alteration::{AddColumn, Alteration, ColumnDefinition, CreateSchema, CreateTable};
pub(crate) use alteration::{duplicate_column, misfit_refusal};
use holdfast_keyspace::Read;
pub use name::{MAX_NAME_BYTES, TableName};
pub use table::{Column, SchemaVersion, Table, TableId};
pub use types::ColumnType;

use crate::{Damage, store};

/// Schemas that exist in every catalog and whose content is not stored.
pub const PUBLIC: &str = "public";

/// The name that PostgreSQL clients ask for and that every path begins with.
pub const DATABASE: &str = "holdfast";

/// The whole catalog of one state.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    schemas: BTreeSet<String>,
    tables: BTreeMap<TableName, Arc<Table>>,
}

impl Catalog {
    /// Reads the catalog of `state`; it is small.
    pub fn load(state: &dyn Read) -> Result<Self, Damage> {
        let mut schemas = store::schemas(state)?;
        schemas.insert(PUBLIC.to_owned());
        let tables = store::tables(state)?.into_iter().map(|table| (table.name.clone(), Arc::new(table))).collect();
        Ok(Self { schemas, tables })
    }

    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        self.schemas.iter().map(String::as_str)
    }

    pub fn has_schema(&self, name: &str) -> bool {
        self.schemas.contains(name)
    }

    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    pub fn table(&self, name: &TableName) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }
}
