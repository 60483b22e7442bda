use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch,
        RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::SchemaRef,
};
use flaredb_core::{ColumnType, Damage, Table, Value, ValueRef, key, row};

use crate::{Error, columns::UTC};

/// Turns stored rows into one record batch of the projected columns.
pub(crate) struct BatchBuilder {
    table: Arc<Table>,
    schema: SchemaRef,
    /// One for each projected column, in projection order.
    columns: Vec<ColumnBuilder>,
    /// For each column of the table: where its values go.
    targets: Vec<Vec<usize>>,
    reads_key: bool,
    reads_value: bool,
    rows: usize,
}

enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    Bigint(Int64Builder),
    Double(Float64Builder),
    Text(StringBuilder),
    Bytea(BinaryBuilder),
    Timestamptz(TimestampMicrosecondBuilder),
    Uuid(StringBuilder),
}

impl BatchBuilder {
    /// `projection` are places of the table's columns; `schema` is theirs.
    pub(crate) fn new(table: Arc<Table>, schema: SchemaRef, projection: &[usize]) -> Self {
        let mut targets = vec![Vec::new(); table.columns.len()];
        let mut columns = Vec::with_capacity(projection.len());
        for place in projection {
            if let (Some(column), Some(targets)) = (table.columns.get(*place), targets.get_mut(*place)) {
                targets.push(columns.len());
                columns.push(ColumnBuilder::new(column.kind));
            }
        }
        let reads_key = projection.iter().any(|place| table.is_key(*place));
        let reads_value = projection.iter().any(|place| !table.is_key(*place));
        Self { table, schema, columns, targets, reads_key, reads_value, rows: 0 }
    }

    /// Appends one stored row.
    pub(crate) fn push(&mut self, stored_key: &[u8], stored_value: &[u8]) -> Result<(), Damage> {
        let Self { table, columns, targets, .. } = self;
        let table: &Table = table;
        let mut misfit = None;
        let mut append = |place: usize, value: ValueRef<'_>| {
            for target in targets.get(place).into_iter().flatten() {
                let fits = columns.get_mut(*target).is_some_and(|column| column.append(value));
                if !fits {
                    misfit = Some(place);
                }
            }
        };
        if self.reads_key {
            let values = key::decode(table, stored_key)?;
            for ((place, _), value) in table.key_columns().zip(&values) {
                append(place, Value::borrow(value));
            }
        }
        if self.reads_value {
            row::visit(table, stored_value, &mut append)?;
        }
        self.rows += 1;
        match misfit {
            None => Ok(()),
            Some(place) => Err(Damage::Content {
                what: "a row",
                cause: format!("column {place} of {} holds a value of another type", table.name),
            }),
        }
    }

    pub(crate) fn finish(mut self) -> Result<RecordBatch, Error> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        // Without columns (`count(*)`) the number of rows is all there is.
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(self.schema, arrays, &options)?)
    }
}

impl ColumnBuilder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Int => Self::Int(Int32Builder::new()),
            ColumnType::Bigint => Self::Bigint(Int64Builder::new()),
            ColumnType::Double => Self::Double(Float64Builder::new()),
            ColumnType::Text | ColumnType::Jsonb => Self::Text(StringBuilder::new()),
            ColumnType::Bytea => Self::Bytea(BinaryBuilder::new()),
            ColumnType::Timestamptz => Self::Timestamptz(TimestampMicrosecondBuilder::new().with_timezone(UTC)),
            ColumnType::Uuid => Self::Uuid(StringBuilder::new()),
        }
    }

    /// Whether the value fits the column.
    fn append(&mut self, value: ValueRef<'_>) -> bool {
        match (self, value) {
            (Self::Boolean(out), ValueRef::Boolean(value)) => out.append_value(value),
            (Self::Int(out), ValueRef::Int(value)) => out.append_value(value),
            (Self::Bigint(out), ValueRef::Bigint(value)) => out.append_value(value),
            (Self::Bigint(out), ValueRef::Int(value)) => out.append_value(i64::from(value)),
            (Self::Double(out), ValueRef::Double(value)) => out.append_value(value),
            (Self::Text(out), ValueRef::Text(value)) => out.append_value(value),
            (Self::Bytea(out), ValueRef::Bytea(value)) => out.append_value(value),
            (Self::Timestamptz(out), ValueRef::Timestamptz(value)) => out.append_value(value),
            (Self::Uuid(out), ValueRef::Uuid(value)) => {
                out.append_value(value.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
            }
            (Self::Boolean(out), ValueRef::Null) => out.append_null(),
            (Self::Int(out), ValueRef::Null) => out.append_null(),
            (Self::Bigint(out), ValueRef::Null) => out.append_null(),
            (Self::Double(out), ValueRef::Null) => out.append_null(),
            (Self::Text(out) | Self::Uuid(out), ValueRef::Null) => out.append_null(),
            (Self::Bytea(out), ValueRef::Null) => out.append_null(),
            (Self::Timestamptz(out), ValueRef::Null) => out.append_null(),
            _ => return false,
        }
        true
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(out) => Arc::new(out.finish()),
            Self::Int(out) => Arc::new(out.finish()),
            Self::Bigint(out) => Arc::new(out.finish()),
            Self::Double(out) => Arc::new(out.finish()),
            Self::Text(out) | Self::Uuid(out) => Arc::new(out.finish()),
            Self::Bytea(out) => Arc::new(out.finish()),
            Self::Timestamptz(out) => Arc::new(out.finish()),
        }
    }
}
