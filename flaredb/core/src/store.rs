//! Where everything is kept: three tables of the state, and the records in them.
//!
//! | table | key | value |
//! |---|---|---|
//! | `catalog` | `h` | [`Head`] |
//! | | `s` name | a schema |
//! | | `t` schema 00 name | [`Table`] |
//! | | `m` set, number u32 | [`MigrationRecord`] |
//! | `rows` | see [`crate::key`] | see [`crate::row`] |
//! | `cursors` | stream name | [`CursorRecord`] |

use std::collections::BTreeSet;

use holdfast_format::kind::{self, Kind};
use holdfast_keyspace::{self as keyspace, KeyRange, Order, Read, Write};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Damage, MigrationRecord, MigrationSet, Table, TableName, catalog::TableId};

pub const CATALOG: keyspace::Table = keyspace::Table::new("catalog");
pub const ROWS: keyspace::Table = keyspace::Table::new("rows");
pub const CURSORS: keyspace::Table = keyspace::Table::new("cursors");

/// All tables of the state.
pub const TABLES: &[keyspace::Table] = &[CATALOG, ROWS, CURSORS];

const VERSION: u16 = 1;

/// What the catalog knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The id that the next table gets.
    pub next_table: TableId,
}

/// How far a stream is ingested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorRecord {
    pub stream: String,
    /// The stream's own words for its position.
    pub cursor: String,
    /// Raft log index of the last batch.
    pub index: u64,
    /// Rows ingested so far.
    pub rows: u64,
}

#[derive(Serialize, Deserialize)]
struct SchemaRecord {
    name: String,
}

pub fn head(state: &dyn Read) -> Result<Head, Damage> {
    let head = get(state, CATALOG, b"h", kind::SQL_HEAD, "the catalog's head")?;
    Ok(head.unwrap_or(Head { next_table: TableId(1) }))
}

pub fn schemas(state: &dyn Read) -> Result<BTreeSet<String>, Damage> {
    let records = list::<SchemaRecord>(state, CATALOG, KeyRange::prefix(*b"s"), kind::SQL_SCHEMA, "a schema")?;
    Ok(records.into_iter().map(|record| record.name).collect())
}

pub fn has_schema(state: &dyn Read, name: &str) -> Result<bool, Damage> {
    Ok(state.get(CATALOG, &schema_key(name))?.is_some())
}

pub fn tables(state: &dyn Read) -> Result<Vec<Table>, Damage> {
    list(state, CATALOG, KeyRange::prefix(*b"t"), kind::SQL_TABLE, "a table")
}

pub fn table(state: &dyn Read, name: &TableName) -> Result<Option<Table>, Damage> {
    get(state, CATALOG, &table_key(name), kind::SQL_TABLE, "a table")
}

/// All applied migrations, by set and number.
pub fn migrations(state: &dyn Read) -> Result<Vec<MigrationRecord>, Damage> {
    list(state, CATALOG, KeyRange::prefix(*b"m"), kind::SQL_MIGRATION, "a migration")
}

pub fn migration(state: &dyn Read, set: MigrationSet, number: u32) -> Result<Option<MigrationRecord>, Damage> {
    get(state, CATALOG, &migration_key(set, number), kind::SQL_MIGRATION, "a migration")
}

/// Number of the last applied migration of `set`, 0 before the first.
pub fn last_migration(state: &dyn Read, set: MigrationSet) -> Result<u32, Damage> {
    let range = KeyRange::prefix([b'm', set.byte()]);
    let Some(last) = state.scan(CATALOG, range, Order::Descending).next() else { return Ok(0) };
    let (_, value) = last?;
    Ok(decode::<MigrationRecord>(&value, kind::SQL_MIGRATION, "a migration")?.number)
}

pub fn cursors(state: &dyn Read) -> Result<Vec<CursorRecord>, Damage> {
    list(state, CURSORS, KeyRange::all(), kind::SQL_CURSOR, "a cursor")
}

pub fn cursor(state: &dyn Read, stream: &str) -> Result<Option<CursorRecord>, Damage> {
    get(state, CURSORS, stream.as_bytes(), kind::SQL_CURSOR, "a cursor")
}

pub(crate) fn put_head(state: &mut dyn Write, head: Head) -> Result<(), Damage> {
    put(state, CATALOG, b"h".to_vec(), kind::SQL_HEAD, &head)
}

pub(crate) fn put_schema(state: &mut dyn Write, name: &str) -> Result<(), Damage> {
    put(state, CATALOG, schema_key(name), kind::SQL_SCHEMA, &SchemaRecord { name: name.to_owned() })
}

pub(crate) fn put_table(state: &mut dyn Write, table: &Table) -> Result<(), Damage> {
    put(state, CATALOG, table_key(&table.name), kind::SQL_TABLE, table)
}

pub(crate) fn put_migration(state: &mut dyn Write, record: &MigrationRecord) -> Result<(), Damage> {
    put(state, CATALOG, migration_key(record.set, record.number), kind::SQL_MIGRATION, record)
}

pub(crate) fn put_cursor(state: &mut dyn Write, record: &CursorRecord) -> Result<(), Damage> {
    put(state, CURSORS, record.stream.clone().into_bytes(), kind::SQL_CURSOR, record)
}

fn schema_key(name: &str) -> Vec<u8> {
    [b"s", name.as_bytes()].concat()
}

fn table_key(name: &TableName) -> Vec<u8> {
    [b"t", name.schema.as_bytes(), b"\0", name.name.as_bytes()].concat()
}

fn migration_key(set: MigrationSet, number: u32) -> Vec<u8> {
    [[b'm', set.byte()].as_slice(), &number.to_be_bytes()].concat()
}

fn get<T: DeserializeOwned>(
    state: &dyn Read,
    table: keyspace::Table,
    key: &[u8],
    kind: Kind,
    what: &'static str,
) -> Result<Option<T>, Damage> {
    state.get(table, key)?.map(|value| decode(&value, kind, what)).transpose()
}

fn list<T: DeserializeOwned>(
    state: &dyn Read,
    table: keyspace::Table,
    range: KeyRange,
    kind: Kind,
    what: &'static str,
) -> Result<Vec<T>, Damage> {
    state.scan(table, range, Order::Ascending).map(|pair| decode(&pair?.1, kind, what)).collect()
}

fn decode<T: DeserializeOwned>(value: &[u8], kind: Kind, what: &'static str) -> Result<T, Damage> {
    holdfast_format::from_json(kind, VERSION, value).map_err(Damage::format(what))
}

fn put<T: Serialize>(
    state: &mut dyn Write,
    table: keyspace::Table,
    key: Vec<u8>,
    kind: Kind,
    record: &T,
) -> Result<(), Damage> {
    let value = holdfast_format::to_json(kind, VERSION, record).map_err(Damage::format("a record"))?;
    state.put(table, key, value);
    Ok(())
}
