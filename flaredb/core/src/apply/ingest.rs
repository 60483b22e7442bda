use holdfast_keyspace::{Overlay, Read as _, Write as _};

use crate::{
    Answer, Damage, Ingest, Refusal, SqlState, Table, TableName, Value,
    error::Failure,
    key, row,
    store::{self, CursorRecord, ROWS},
};

/// Longer names and positions would only bloat keys.
const MAX_STREAM_BYTES: usize = 512;

pub(super) fn apply(state: &mut Overlay<'_>, index: u64, ingest: Ingest) -> Result<Answer, Failure> {
    if ingest.stream.len().max(ingest.next_cursor.len()) > MAX_STREAM_BYTES {
        let message = format!("names of streams and cursors have at most {MAX_STREAM_BYTES} bytes");
        return Err(Refusal::new(SqlState::ProgramLimitExceeded, message).into());
    }
    let stored = store::cursor(state, &ingest.stream)?;
    if stored.as_ref().map(|record| &record.cursor) != ingest.expected_cursor.as_ref() {
        return Ok(Answer::CursorMismatch { stored: stored.map(|record| record.cursor) });
    }
    let rows = ingest.rows.len() as u64;
    let table = require_table(state, &ingest.table)?;
    let places = places(&table, &ingest.columns)?;
    for values in ingest.rows {
        if values.len() != places.len() {
            let message = format!("a row has {} values for {} columns", values.len(), places.len());
            return Err(Refusal::new(SqlState::SyntaxError, message).into());
        }
        insert(state, &table, &row::complete(&table, &places, values)?)?;
    }
    let record = CursorRecord {
        stream: ingest.stream,
        cursor: ingest.next_cursor,
        index,
        rows: stored.map_or(0, |record| record.rows).saturating_add(rows),
    };
    store::put_cursor(state, &record)?;
    Ok(Answer::Ingested { rows })
}

pub(super) fn require_table(state: &Overlay<'_>, name: &TableName) -> Result<Table, Failure> {
    let missing = || Refusal::new(SqlState::UndefinedTable, format!("table {name} does not exist"));
    Ok(store::table(state, name)?.ok_or_else(missing)?)
}

/// Adds a complete row; its key must be free.
pub(super) fn insert(state: &mut Overlay<'_>, table: &Table, row: &[Value]) -> Result<(), Failure> {
    // A complete row has a value of the right type in every key column.
    let Some(key) = key::encode(table, row) else {
        return Err(Damage::content("a row's key", format!("a row of {} has no key", table.name)).into());
    };
    if state.get(ROWS, &key)?.is_some() {
        let message = format!("duplicate key: {} has a row with this primary key", table.name);
        return Err(Refusal::new(SqlState::UniqueViolation, message).into());
    }
    let value = row::encode(table, row)?;
    state.put(ROWS, key, value);
    Ok(())
}

fn places(table: &Table, columns: &[String]) -> Result<Vec<usize>, Failure> {
    let mut places = Vec::with_capacity(columns.len());
    for name in columns {
        let Some(place) = table.place(name) else {
            let message = format!("table {} has no column \"{name}\"", table.name);
            return Err(Refusal::new(SqlState::UndefinedColumn, message).into());
        };
        if places.contains(&place) {
            return Err(crate::catalog::duplicate_column(name).into());
        }
        places.push(place);
    }
    Ok(places)
}
