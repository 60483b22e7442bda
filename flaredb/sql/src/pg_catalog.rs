//! As much of PostgreSQL's catalog as clients need to find their way.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::DataType,
};
use datafusion::{
    catalog::TableProvider,
    datasource::MemTable,
    error::Result,
    execution::{FunctionRegistry as _, SessionState},
    logical_expr::{ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, TypeSignature, Volatility},
    scalar::ScalarValue,
};
use flaredb_core::{
    Catalog, ColumnType, Table,
    catalog::{DATABASE, PUBLIC},
};

pub(crate) const SCHEMA: &str = "pg_catalog";
/// What clients are told: the PostgreSQL release whose manners are kept.
pub(crate) const SERVER_VERSION: &str = "15.0";

pub(crate) const TABLES: [&str; 7] =
    ["pg_am", "pg_attribute", "pg_class", "pg_database", "pg_namespace", "pg_roles", "pg_type"];

const OWNER: i64 = 10;
/// Numbers below are PostgreSQL's own.
const FIRST_TABLE: i64 = 16_384;
const FIRST_SCHEMA: i64 = 3_000;
const PUBLIC_SCHEMA: i64 = 2_200;
const PG_CATALOG_SCHEMA: i64 = 11;
const HEAP: i64 = 2;

/// The oid of a type, as PostgreSQL has it.
pub(crate) fn type_oid(kind: ColumnType) -> i64 {
    match kind {
        ColumnType::Boolean => 16,
        ColumnType::Bytea => 17,
        ColumnType::Bigint => 20,
        ColumnType::Int => 23,
        ColumnType::Text => 25,
        ColumnType::Double => 701,
        ColumnType::Timestamptz => 1_184,
        ColumnType::Uuid => 2_950,
        ColumnType::Jsonb => 3_802,
    }
}

fn type_names(kind: ColumnType) -> (&'static str, &'static str) {
    match kind {
        ColumnType::Boolean => ("bool", "boolean"),
        ColumnType::Bytea => ("bytea", "bytea"),
        ColumnType::Bigint => ("int8", "bigint"),
        ColumnType::Int => ("int4", "integer"),
        ColumnType::Text => ("text", "text"),
        ColumnType::Double => ("float8", "double precision"),
        ColumnType::Timestamptz => ("timestamptz", "timestamp with time zone"),
        ColumnType::Uuid => ("uuid", "uuid"),
        ColumnType::Jsonb => ("jsonb", "jsonb"),
    }
}

fn table_oid(table: &Table) -> i64 {
    FIRST_TABLE + i64::from(table.id.0)
}

/// Schemas with their oids. Those of the stored ones hold within one snapshot only.
fn schemas(catalog: &Catalog) -> Vec<(i64, &str)> {
    let number = |(at, name)| match name {
        PUBLIC => (PUBLIC_SCHEMA, name),
        _ => (FIRST_SCHEMA + at, name),
    };
    (0..).zip(catalog.schemas()).map(number).chain([(PG_CATALOG_SCHEMA, SCHEMA)]).collect()
}

/// The table of pg_catalog called `name`.
pub(crate) fn table(name: &str, catalog: &Catalog) -> Result<Option<Arc<dyn TableProvider>>> {
    let columns = match name {
        "pg_am" => vec![ids("oid", [HEAP]), texts("amname", ["heap"]), texts("amtype", ["t"])],
        "pg_attribute" => attributes(catalog),
        "pg_class" => classes(catalog),
        "pg_database" => vec![
            ids("oid", [1]),
            texts("datname", [DATABASE]),
            ids("datdba", [OWNER]),
            ints("encoding", [6]),
            texts("datcollate", ["C"]),
            texts("datctype", ["C"]),
            flags("datallowconn", [true]),
            flags("datistemplate", [false]),
        ],
        "pg_namespace" => {
            let all = schemas(catalog);
            vec![
                ids("oid", all.iter().map(|(oid, _)| *oid)),
                texts("nspname", all.iter().map(|(_, name)| *name)),
                ids("nspowner", all.iter().map(|_| OWNER)),
            ]
        }
        "pg_roles" => vec![ids("oid", [OWNER]), texts("rolname", [DATABASE]), flags("rolsuper", [false])],
        "pg_type" => types(),
        _ => return Ok(None),
    };
    let batch = RecordBatch::try_from_iter(columns)?;
    Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
}

fn classes(catalog: &Catalog) -> Vec<(&'static str, ArrayRef)> {
    let tables: Vec<&Arc<Table>> = catalog.tables().collect();
    let schemas = schemas(catalog);
    let schema = |table: &Arc<Table>| {
        schemas.iter().find(|(_, name)| *name == table.name.schema).map_or(PUBLIC_SCHEMA, |(oid, _)| *oid)
    };
    let each = || tables.iter().copied();
    vec![
        ids("oid", each().map(|table| table_oid(table))),
        texts("relname", each().map(|table| table.name.name.as_str())),
        ids("relnamespace", each().map(schema)),
        ids("relowner", each().map(|_| OWNER)),
        ids("relam", each().map(|_| HEAP)),
        texts("relkind", each().map(|_| "r")),
        texts("relpersistence", each().map(|_| "p")),
        ints("relnatts", each().map(|table| i32::try_from(table.columns.len()).unwrap_or(i32::MAX))),
        ints("relchecks", each().map(|_| 0)),
        ids("reltoastrelid", each().map(|_| 0)),
        ids("reloftype", each().map(|_| 0)),
        ids("reltablespace", each().map(|_| 0)),
        texts("relreplident", each().map(|_| "d")),
        flags("relhasindex", each().map(|_| false)),
        flags("relhasrules", each().map(|_| false)),
        flags("relhastriggers", each().map(|_| false)),
        flags("relrowsecurity", each().map(|_| false)),
        flags("relforcerowsecurity", each().map(|_| false)),
        flags("relispartition", each().map(|_| false)),
    ]
}

fn attributes(catalog: &Catalog) -> Vec<(&'static str, ArrayRef)> {
    let columns: Vec<_> =
        catalog.tables().flat_map(|table| (1..).zip(&table.columns).map(move |it| (table, it))).collect();
    let each = || columns.iter();
    vec![
        ids("attrelid", each().map(|(table, _)| table_oid(table))),
        texts("attname", each().map(|(_, (_, column))| column.name.as_str())),
        ids("atttypid", each().map(|(_, (_, column))| type_oid(column.kind))),
        ints("attnum", each().map(|(_, (number, _))| *number)),
        ints("atttypmod", each().map(|_| -1)),
        ids("attcollation", each().map(|_| 0)),
        flags("attnotnull", each().map(|(_, (_, column))| !column.nullable)),
        flags("atthasdef", each().map(|(_, (_, column))| column.default.is_some())),
        flags("attisdropped", each().map(|_| false)),
        texts("attidentity", each().map(|_| "")),
        texts("attgenerated", each().map(|_| "")),
    ]
}

fn types() -> Vec<(&'static str, ArrayRef)> {
    let each = || ColumnType::ALL.into_iter();
    vec![
        ids("oid", each().map(type_oid)),
        texts("typname", each().map(|kind| type_names(kind).0)),
        ids("typnamespace", each().map(|_| PG_CATALOG_SCHEMA)),
        texts("typtype", each().map(|_| "b")),
        ids("typrelid", each().map(|_| 0)),
        ids("typelem", each().map(|_| 0)),
        ids("typcollation", each().map(|_| 0)),
        ids("typbasetype", each().map(|_| 0)),
    ]
}

fn ids(name: &'static str, values: impl IntoIterator<Item = i64>) -> (&'static str, ArrayRef) {
    (name, Arc::new(Int64Array::from_iter_values(values)))
}

fn ints(name: &'static str, values: impl IntoIterator<Item = i32>) -> (&'static str, ArrayRef) {
    (name, Arc::new(Int32Array::from_iter_values(values)))
}

fn texts<'a>(name: &'static str, values: impl IntoIterator<Item = &'a str>) -> (&'static str, ArrayRef) {
    (name, Arc::new(StringArray::from_iter_values(values)))
}

fn flags(name: &'static str, values: impl IntoIterator<Item = bool>) -> (&'static str, ArrayRef) {
    (name, Arc::new(values.into_iter().map(Some).collect::<BooleanArray>()))
}

/// Registers the functions that clients call, with and without the schema's name.
pub(crate) fn register_functions(state: &mut SessionState) {
    let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
    let version = format!("PostgreSQL {SERVER_VERSION} compatible, Holdfast {}", env!("CARGO_PKG_VERSION"));
    let constants = [
        ("version", text(&version)),
        ("current_schema", text(PUBLIC)),
        ("current_database", text(DATABASE)),
        ("pg_table_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_type_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_function_is_visible", ScalarValue::Boolean(Some(true))),
        ("pg_get_userbyid", text(DATABASE)),
        ("pg_encoding_to_char", text("UTF8")),
        ("pg_is_in_recovery", ScalarValue::Boolean(Some(false))),
        ("obj_description", ScalarValue::Utf8(None)),
        ("col_description", ScalarValue::Utf8(None)),
        ("shobj_description", ScalarValue::Utf8(None)),
    ];
    for (name, value) in constants {
        register(state, name, &value.data_type(), move |_| Ok(ColumnarValue::Scalar(value.clone())));
    }
    register(state, "format_type", &DataType::Utf8, format_type);
}

fn register(
    state: &mut SessionState,
    name: &str,
    returns: &DataType,
    run: impl Fn(&[ColumnarValue]) -> Result<ColumnarValue> + Clone + Send + Sync + 'static,
) {
    for name in [name.to_owned(), format!("{SCHEMA}.{name}")] {
        let any = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
        let function = SimpleScalarUDF::new_with_signature(name, any, returns.clone(), Arc::new(run.clone()));
        // Replacing an earlier function of the name is the point; it cannot fail.
        let _ = state.register_udf(Arc::new(ScalarUDF::from(function)));
    }
}

/// `format_type(oid, typmod)`: a type's name as people read it.
fn format_type(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let oids = arguments.first().map(|oids| oids.clone().into_array(1)).transpose()?;
    let name = |oid: Option<i64>| {
        let known = ColumnType::ALL.into_iter().find(|kind| Some(type_oid(*kind)) == oid);
        known.map(|kind| type_names(kind).1)
    };
    let oids = oids.map(|oids| arrow::compute::cast(&oids, &DataType::Int64)).transpose()?;
    let names: StringArray = match oids.as_ref().and_then(|oids| oids.as_any().downcast_ref::<Int64Array>()) {
        Some(oids) => oids.iter().map(name).collect(),
        None => [None::<&str>].into_iter().collect(),
    };
    Ok(ColumnarValue::Array(Arc::new(names)))
}
