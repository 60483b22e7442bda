use std::collections::VecDeque;

use holdfast_proto::flaredb::{self as proto, query_response::Part};
use serde_json::Value;
use tonic::Streaming;

use crate::Error;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// The SQL type, e.g. `BIGINT`.
    pub kind: String,
}

/// The rows of a query as they arrive.
pub struct Rows {
    pub columns: Vec<Column>,
    /// Log index of the state that the rows come from.
    pub applied_index: u64,
    answers: Streaming<proto::QueryResponse>,
    arrived: VecDeque<String>,
}

/// A whole result.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
}

impl Rows {
    pub(crate) fn new(columns: proto::Columns, answers: Streaming<proto::QueryResponse>) -> Self {
        let column = |column: proto::Column| Column { name: column.name, kind: column.r#type };
        let applied_index = columns.applied_index;
        let columns = columns.columns.into_iter().map(column).collect();
        Self { columns, applied_index, answers, arrived: VecDeque::new() }
    }

    /// The next row, one JSON value a column; none after the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, Error> {
        loop {
            if let Some(row) = self.arrived.pop_front() {
                return serde_json::from_str(&row).map(Some).map_err(|error| Error::Protocol(error.to_string()));
            }
            let Some(answer) = self.answers.message().await? else { return Ok(None) };
            match answer.part {
                Some(Part::Json(rows)) => self.arrived = rows.rows.into(),
                _ => return Err(Error::Protocol("something else than rows".to_owned())),
            }
        }
    }

    pub async fn collect(mut self) -> Result<Table, Error> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        Ok(Table { columns: self.columns, rows })
    }
}

impl Table {
    /// All values of the column called `name`; empty if there is none.
    pub fn column(&self, name: &str) -> Vec<&Value> {
        let Some(at) = self.columns.iter().position(|column| column.name == name) else { return Vec::new() };
        self.rows.iter().filter_map(|row| row.get(at)).collect()
    }
}
