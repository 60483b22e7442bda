use std::fmt::Write as _;

use arrow::array::RecordBatch;
use flaredb_core::{ColumnType, SqlState, ValueRef};
use flaredb_sql::{Cells, Error, OutputColumn};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::CHUNK_BYTES;

/// A batch as JSON arrays, one a row, in chunks of bounded size.
pub(crate) struct JsonChunks<'a> {
    cells: Cells,
    columns: &'a [OutputColumn],
    next: usize,
}

impl<'a> JsonChunks<'a> {
    pub(crate) fn new(batch: &RecordBatch, columns: &'a [OutputColumn]) -> Result<Self, Error> {
        Ok(Self { cells: Cells::new(batch, columns)?, columns, next: 0 })
    }

    fn row(&self, row: usize) -> Result<String, Error> {
        let mut text = String::from("[");
        for (value, column) in self.cells.row(row).zip(self.columns) {
            if text.len() > 1 {
                text.push(',');
            }
            append(&mut text, value, column.kind)?;
        }
        text.push(']');
        Ok(text)
    }
}

impl Iterator for JsonChunks<'_> {
    type Item = Result<Vec<String>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while self.next < self.cells.rows() && bytes < CHUNK_BYTES {
            match self.row(self.next) {
                Ok(row) => {
                    bytes += row.len();
                    rows.push(row);
                }
                Err(error) => return Some(Err(error)),
            }
            self.next += 1;
        }
        (!rows.is_empty()).then_some(Ok(rows))
    }
}

fn append(out: &mut String, value: ValueRef<'_>, kind: Option<ColumnType>) -> Result<(), Error> {
    // Writing to a String cannot fail.
    let _ = match value {
        ValueRef::Null => write!(out, "null"),
        ValueRef::Boolean(value) => write!(out, "{value}"),
        ValueRef::Int(value) => write!(out, "{value}"),
        ValueRef::Bigint(value) => write!(out, "{value}"),
        // JSON has no words for infinities and NaN; they are text.
        ValueRef::Double(value) if value.is_finite() => write!(out, "{}", json!(value)),
        ValueRef::Double(value) => write!(out, "\"{value}\""),
        // Checked when it was written.
        ValueRef::Text(text) if kind == Some(ColumnType::Jsonb) => write!(out, "{text}"),
        ValueRef::Text(text) => write!(out, "{}", json!(text)),
        ValueRef::Bytea(bytes) => write!(out, "\"{}\"", hex::encode(bytes)),
        ValueRef::Uuid(uuid) => write!(out, "\"{uuid}\""),
        ValueRef::Timestamptz(micros) => write!(out, "\"{}\"", rfc3339(micros)?),
    };
    Ok(())
}

fn rfc3339(micros: i64) -> Result<String, Error> {
    let out_of_range = || Error::new(SqlState::InvalidDatetime, "a time is outside of the years that have a notation");
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).map_err(|_| out_of_range())?;
    time.format(&Rfc3339).map_err(|_| out_of_range())
}
