//! Values in PostgreSQL's text and binary formats.

use arrow::array::RecordBatch;
use bytes::{BufMut as _, BytesMut};
use flaredb_core::{ColumnType, SqlState, ValueRef};
use flaredb_sql::{Cells, Error, OutputColumn};
use pgwire::{
    api::{Type, portal::Format, results::FieldFormat},
    messages::data::{DataRow, FORMAT_CODE_BINARY},
};
use time::{OffsetDateTime, macros::format_description};

/// 2000-01-01, where PostgreSQL counts its microseconds from.
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Types without a counterpart travel as text.
pub(super) fn wire_type(kind: Option<ColumnType>) -> Type {
    match kind {
        Some(ColumnType::Boolean) => Type::BOOL,
        Some(ColumnType::Int) => Type::INT4,
        Some(ColumnType::Bigint) => Type::INT8,
        Some(ColumnType::Double) => Type::FLOAT8,
        Some(ColumnType::Bytea) => Type::BYTEA,
        Some(ColumnType::Timestamptz) => Type::TIMESTAMPTZ,
        Some(ColumnType::Uuid) => Type::UUID,
        Some(ColumnType::Jsonb) => Type::JSONB,
        Some(ColumnType::Text) | None => Type::TEXT,
    }
}

/// The format of column or parameter `at`. A client that names fewer formats than there are columns gets text.
pub(super) fn format_of(format: &Format, at: usize) -> FieldFormat {
    match format {
        Format::UnifiedText => FieldFormat::Text,
        Format::UnifiedBinary => FieldFormat::Binary,
        Format::Individual(codes) if codes.get(at) == Some(&FORMAT_CODE_BINARY) => FieldFormat::Binary,
        Format::Individual(_) => FieldFormat::Text,
    }
}

pub(super) fn data_rows(batch: &RecordBatch, columns: &[OutputColumn], format: &Format) -> Result<Vec<DataRow>, Error> {
    let cells = Cells::new(batch, columns)?;
    (0..cells.rows()).map(|row| data_row(&cells, row, columns, format)).collect()
}

fn data_row(cells: &Cells, row: usize, columns: &[OutputColumn], format: &Format) -> Result<DataRow, Error> {
    let mut data = BytesMut::new();
    for (at, (value, column)) in cells.row(row).zip(columns).enumerate() {
        if value == ValueRef::Null {
            data.put_i32(-1);
            continue;
        }
        let start = data.len();
        data.put_i32(0);
        match format_of(format, at) {
            FieldFormat::Text => text(&mut data, value)?,
            FieldFormat::Binary => binary(&mut data, value, column.kind)?,
        }
        let length = i32::try_from(data.len() - start - 4).map_err(|_| too_large())?;
        if let Some(slot) = data.get_mut(start..start + 4) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
    }
    let count = i16::try_from(columns.len()).map_err(|_| too_large())?;
    Ok(DataRow::new(data, count))
}

/// A row of one text.
pub(super) fn text_row(value: &str) -> DataRow {
    let mut data = BytesMut::new();
    data.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
    data.put_slice(value.as_bytes());
    DataRow::new(data, 1)
}

fn text(out: &mut BytesMut, value: ValueRef<'_>) -> Result<(), Error> {
    match value {
        ValueRef::Null => {}
        ValueRef::Boolean(value) => out.put_slice(if value { b"t" } else { b"f" }),
        ValueRef::Int(value) => out.put_slice(value.to_string().as_bytes()),
        ValueRef::Bigint(value) => out.put_slice(value.to_string().as_bytes()),
        ValueRef::Double(value) if value.is_nan() => out.put_slice(b"NaN"),
        ValueRef::Double(value) if value.is_infinite() => {
            out.put_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
        }
        ValueRef::Double(value) => out.put_slice(value.to_string().as_bytes()),
        ValueRef::Text(value) => out.put_slice(value.as_bytes()),
        ValueRef::Bytea(value) => {
            out.put_slice(b"\\x");
            out.put_slice(hex::encode(value).as_bytes());
        }
        ValueRef::Uuid(value) => out.put_slice(value.to_string().as_bytes()),
        ValueRef::Timestamptz(micros) => out.put_slice(timestamp(micros)?.as_bytes()),
    }
    Ok(())
}

fn binary(out: &mut BytesMut, value: ValueRef<'_>, kind: Option<ColumnType>) -> Result<(), Error> {
    match value {
        ValueRef::Null => {}
        ValueRef::Boolean(value) => out.put_u8(u8::from(value)),
        ValueRef::Int(value) => out.put_i32(value),
        ValueRef::Bigint(value) => out.put_i64(value),
        ValueRef::Double(value) => out.put_f64(value),
        ValueRef::Text(value) if kind == Some(ColumnType::Uuid) => {
            let uuid = uuid::Uuid::try_parse(value)
                .map_err(|_| Error::new(SqlState::InvalidTextRepresentation, "a UUID column has another text"))?;
            out.put_slice(uuid.as_bytes());
        }
        ValueRef::Text(value) => {
            if kind == Some(ColumnType::Jsonb) {
                // The version of JSONB's binary format.
                out.put_u8(1);
            }
            out.put_slice(value.as_bytes());
        }
        ValueRef::Bytea(value) => out.put_slice(value),
        ValueRef::Uuid(value) => out.put_slice(value.as_bytes()),
        ValueRef::Timestamptz(micros) => out.put_i64(micros.checked_sub(EPOCH_MICROS).ok_or_else(out_of_range)?),
    }
    Ok(())
}

/// `2026-11-05 12:00:00.5+00`, as PostgreSQL writes it.
fn timestamp(micros: i64) -> Result<String, Error> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).map_err(|_| out_of_range())?;
    let seconds = time
        .format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]"))
        .map_err(|_| out_of_range())?;
    let fraction = match time.microsecond() {
        0 => String::new(),
        fraction => format!(".{fraction:06}").trim_end_matches('0').to_owned(),
    };
    Ok(format!("{seconds}{fraction}+00"))
}

fn out_of_range() -> Error {
    Error::new(SqlState::InvalidDatetime, "a time is outside of the years that have a notation")
}

fn too_large() -> Error {
    Error::new(SqlState::ProgramLimitExceeded, "a row is larger than the protocol can carry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_postgresql_writes_them() {
        assert_eq!(timestamp(0).unwrap(), "1970-01-01 00:00:00+00");
        assert_eq!(timestamp(1_700_000_000_123_400).unwrap(), "2023-11-14 22:13:20.1234+00");
        assert_eq!(timestamp(-1).unwrap(), "1969-12-31 23:59:59.999999+00");
        assert!(timestamp(i64::MAX).is_err());
    }

    #[test]
    fn fewer_formats_than_columns_are_text() {
        let format = Format::Individual(vec![1, 0]);
        assert_eq!(format_of(&format, 0), FieldFormat::Binary);
        assert_eq!(format_of(&format, 7), FieldFormat::Text);
    }
}
