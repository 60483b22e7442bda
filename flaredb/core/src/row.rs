//! Row values: the schema version that the row was written under, then the values of the columns outside the key that
//! this version had, in column order. Columns that came later read as their default.

use holdfast_format::kind;
use serde::Serialize;

use crate::{
    Column, ColumnType, Damage, Refusal, SqlState, Table, Value, ValueRef,
    catalog::{SchemaVersion, misfit_refusal},
};

const WHAT: &str = "a row";
const VERSION: u16 = 1;

/// Checks `values`, one for each of `columns`, and puts them in column order with defaults for the rest.
pub fn complete(table: &Table, columns: &[usize], values: Vec<Value>) -> Result<Vec<Value>, Refusal> {
    let mut row: Vec<Value> = table.columns.iter().map(Column::default_or_null).collect();
    for (place, value) in columns.iter().zip(values) {
        if let Some(slot) = row.get_mut(*place) {
            *slot = value;
        }
    }
    for (column, value) in table.columns.iter().zip(&mut row) {
        check(table, column, value)?;
        // One spelling for each value: an INT in a BIGINT column is stored as what the column says.
        if let (ColumnType::Bigint, Value::Int(small)) = (column.kind, &*value) {
            *value = Value::Bigint(i64::from(*small));
        }
    }
    Ok(row)
}

fn check(table: &Table, column: &Column, value: &Value) -> Result<(), Refusal> {
    if value.is_null() && !column.nullable {
        let message = format!("column \"{}\" of {} must not be null", column.name, table.name);
        return Err(Refusal::new(SqlState::NotNullViolation, message));
    }
    value.fits(column.kind).map_err(|misfit| misfit_refusal(misfit, &column.name, column.kind))
}

/// The stored value of a complete row.
pub fn encode(table: &Table, row: &[Value]) -> Result<Vec<u8>, Damage> {
    let fail = |error: postcard::Error| Damage::content(WHAT, error.to_string());
    let mut payload = postcard::to_allocvec(&table.version).map_err(fail)?;
    for (place, _) in table.stored_columns() {
        let value = row.get(place).unwrap_or(&Value::Null);
        payload = append(payload, value).map_err(fail)?;
    }
    Ok(holdfast_format::encode(kind::SQL_ROW, VERSION, &payload))
}

fn append<T: Serialize>(payload: Vec<u8>, value: &T) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(value, payload)
}

/// Reads a stored row and calls `visit` with the place and value of each column outside the key, in column order.
/// Values borrow from `stored` or from the table's defaults: nothing is copied.
pub fn visit<'a>(table: &'a Table, stored: &'a [u8], mut visit: impl FnMut(usize, ValueRef<'a>)) -> Result<(), Damage> {
    let frame = holdfast_format::decode(kind::SQL_ROW, stored).map_err(Damage::format(WHAT))?;
    if frame.version != VERSION {
        let cause = holdfast_format::Error::Newer { found: frame.version, supported: VERSION };
        return Err(Damage::Format { what: WHAT, cause });
    }
    let fail = |error: postcard::Error| Damage::content(WHAT, format!("in {}: {error}", table.name));
    let (version, mut rest) = postcard::take_from_bytes::<SchemaVersion>(frame.payload).map_err(fail)?;
    for (place, column) in table.stored_columns() {
        if column.since > version {
            visit(place, column.default.as_ref().map_or(ValueRef::Null, Value::borrow));
        } else {
            let (value, tail) = postcard::take_from_bytes::<ValueRef<'a>>(rest).map_err(fail)?;
            rest = tail;
            visit(place, value);
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(Damage::content(WHAT, "bytes follow the last column")) }
}
