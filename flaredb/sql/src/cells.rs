use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    compute::{CastOptions, cast_with_options},
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use flaredb_core::{SqlState, ValueRef};

use crate::{Error, OutputColumn, columns::arrow_type};

/// A batch cell by cell, in SQL's types: what the wire formats are written from. Types that SQL here does not have
/// (dates, intervals, lists, …) are text.
pub struct Cells {
    columns: Vec<CellColumn>,
    rows: usize,
}

enum CellColumn {
    Boolean(BooleanArray),
    Int(Int32Array),
    Bigint(Int64Array),
    Double(Float64Array),
    Text(StringArray),
    Bytea(BinaryArray),
    Timestamptz(TimestampMicrosecondArray),
}

impl Cells {
    /// `columns` are those of the batch's query.
    pub fn new(batch: &RecordBatch, columns: &[OutputColumn]) -> Result<Self, Error> {
        let converted = batch.columns().iter().zip(columns).map(|(array, column)| convert(array, column));
        Ok(Self { columns: converted.collect::<Result<_, _>>()?, rows: batch.num_rows() })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values of row `row`, which must be less than [`Cells::rows`].
    pub fn row(&self, row: usize) -> impl Iterator<Item = ValueRef<'_>> {
        self.columns.iter().map(move |column| column.get(row))
    }
}

impl CellColumn {
    fn get(&self, row: usize) -> ValueRef<'_> {
        let value = match self {
            Self::Boolean(array) => array.is_valid(row).then(|| ValueRef::Boolean(array.value(row))),
            Self::Int(array) => array.is_valid(row).then(|| ValueRef::Int(array.value(row))),
            Self::Bigint(array) => array.is_valid(row).then(|| ValueRef::Bigint(array.value(row))),
            Self::Double(array) => array.is_valid(row).then(|| ValueRef::Double(array.value(row))),
            Self::Text(array) => array.is_valid(row).then(|| ValueRef::Text(array.value(row))),
            Self::Bytea(array) => array.is_valid(row).then(|| ValueRef::Bytea(array.value(row))),
            Self::Timestamptz(array) => array.is_valid(row).then(|| ValueRef::Timestamptz(array.value(row))),
        };
        value.unwrap_or(ValueRef::Null)
    }
}

fn convert(array: &ArrayRef, column: &OutputColumn) -> Result<CellColumn, Error> {
    let array = match column.kind {
        Some(kind) if *array.data_type() == arrow_type(kind) => array.clone(),
        Some(kind) => {
            // A value that does not fit fails the query; it is never shown as NULL.
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(array, &arrow_type(kind), &strict)?
        }
        None => formatted(array)?,
    };
    let any = array.as_any();
    let converted = match array.data_type() {
        DataType::Boolean => any.downcast_ref().cloned().map(CellColumn::Boolean),
        DataType::Int32 => any.downcast_ref().cloned().map(CellColumn::Int),
        DataType::Int64 => any.downcast_ref().cloned().map(CellColumn::Bigint),
        DataType::Float64 => any.downcast_ref().cloned().map(CellColumn::Double),
        DataType::Utf8 => any.downcast_ref().cloned().map(CellColumn::Text),
        DataType::Binary => any.downcast_ref().cloned().map(CellColumn::Bytea),
        DataType::Timestamp(..) => any.downcast_ref().cloned().map(CellColumn::Timestamptz),
        _ => None,
    };
    converted.ok_or_else(|| Error::new(SqlState::InternalError, format!("column \"{}\" cannot be shown", column.name)))
}

fn formatted(array: &ArrayRef) -> Result<ArrayRef, Error> {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default())?;
    let text = |row: usize| array.is_valid(row).then(|| formatter.value(row).to_string());
    Ok(std::sync::Arc::new((0..array.len()).map(text).collect::<StringArray>()))
}
