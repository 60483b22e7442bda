use serde::{Deserialize, Serialize};

use super::{ColumnType, TableName};
use crate::Value;

/// Prefix of all keys of a table; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId(pub u32);

/// Counts the changes of one table's definition, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SchemaVersion(pub u32);

/// A table's definition as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub id: TableId,
    pub name: TableName,
    pub version: SchemaVersion,
    /// In order of creation; a column never changes its place.
    pub columns: Vec<Column>,
    /// Places of the primary key's columns, in key order.
    pub primary_key: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ColumnType,
    pub nullable: bool,
    /// What a row without the column has: rows older than the column, and rows written without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The schema version that added the column.
    pub since: SchemaVersion,
}

impl Table {
    /// The primary key's columns with their places, in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.primary_key.iter().filter_map(|place| {
            let place = usize::from(*place);
            self.columns.get(place).map(|column| (place, column))
        })
    }

    /// The columns that a row's value holds, with their places, in column order.
    pub fn stored_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(place, _)| !self.is_key(*place))
    }

    /// The place of the column called `name`.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub fn is_key(&self, place: usize) -> bool {
        self.primary_key.iter().any(|key| usize::from(*key) == place)
    }
}

impl Column {
    /// The default, or NULL.
    pub fn default_or_null(&self) -> Value {
        self.default.clone().unwrap_or(Value::Null)
    }
}
