//! SQL types as Arrow types. UUID and JSONB travel as text, so that literals compare with them as people write them;
//! field metadata keeps what they are.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use flaredb_core::{ColumnType, Table};

/// The zone of all TIMESTAMPTZ values.
pub(crate) const UTC: &str = "+00:00";
const TYPE: &str = "holdfast.type";

/// One column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    pub name: String,
    /// The SQL type, if the engine's type has one here; otherwise values are shown as text.
    pub kind: Option<ColumnType>,
    pub arrow: DataType,
}

/// The Arrow schema of a table, in column order.
pub(crate) fn table_schema(table: &Table) -> SchemaRef {
    let fields: Vec<Field> =
        table.columns.iter().map(|column| field(&column.name, column.kind, column.nullable)).collect();
    Arc::new(Schema::new(fields))
}

pub(crate) fn field(name: &str, kind: ColumnType, nullable: bool) -> Field {
    let field = Field::new(name, arrow_type(kind), nullable);
    match kind {
        ColumnType::Uuid | ColumnType::Jsonb => {
            field.with_metadata(HashMap::from([(TYPE.to_owned(), kind.sql().to_owned())]))
        }
        _ => field,
    }
}

pub(crate) fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int => DataType::Int32,
        ColumnType::Bigint => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Text | ColumnType::Uuid | ColumnType::Jsonb => DataType::Utf8,
        ColumnType::Bytea => DataType::Binary,
        ColumnType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
    }
}

impl OutputColumn {
    pub(crate) fn of(field: &Field) -> Self {
        let marked = field.metadata().get(TYPE);
        let kind = marked
            .and_then(|word| ColumnType::ALL.into_iter().find(|kind| kind.sql() == word))
            .or_else(|| sql_type(field.data_type()));
        Self { name: field.name().clone(), kind, arrow: field.data_type().clone() }
    }

    /// The type's name: SQL's where there is one.
    pub fn type_name(&self) -> String {
        match self.kind {
            Some(kind) => kind.sql().to_owned(),
            None => self.arrow.to_string(),
        }
    }
}

/// The SQL type that shows values of `arrow`, if there is one.
pub fn sql_type(arrow: &DataType) -> Option<ColumnType> {
    Some(match arrow {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => ColumnType::Int,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => ColumnType::Bigint,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => ColumnType::Double,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ColumnType::Bytea
        }
        DataType::Timestamp(_, Some(_)) => ColumnType::Timestamptz,
        _ => return None,
    })
}
