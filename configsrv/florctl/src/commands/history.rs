use holdfast_proto::flaredb::{
    Consistency, QueryRequest, QueryResponse, RowFormat, flaredb_client::FlaredbClient, query_response::Part,
};
use serde_json::{Value, json};

use crate::{
    cli::{History, HistoryCommand, Query},
    failure::{Code, Failure},
    output::{Format, Table},
    remote::{connect, refused},
    settings::Settings,
};

/// Columns and rows as they arrive.
#[derive(Default)]
struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

pub(super) async fn run(history: History, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let query = match history.command {
        Some(HistoryCommand::Query(query)) => Some(query),
        None => history.query,
    };
    let query = query.ok_or_else(|| Failure::usage("history needs a statement: florctl history \"SELECT …\""))?;
    let result = ask(query, settings).await?;
    let value = json!({
        "columns": result.columns,
        "rows": result.rows.iter().map(|row| object(&result.columns, row)).collect::<Vec<_>>(),
    });
    output.print(&value, || {
        let headings: Vec<&str> = result.columns.iter().map(String::as_str).collect();
        let mut table = Table::new(&headings);
        for row in &result.rows {
            table.push(row.iter().map(cell).collect());
        }
        format!("{table}({} rows)", result.rows.len())
    })?;
    Ok(Code::Done)
}

async fn ask(query: Query, settings: &Settings) -> Result<Rows, Failure> {
    let mut client = FlaredbClient::new(connect(settings).await?);
    let consistency = if query.local { Consistency::Local } else { Consistency::Strong };
    let request = QueryRequest {
        sql: query.sql,
        consistency: consistency.into(),
        format: RowFormat::Json.into(),
        max_rows: query.limit,
        ..QueryRequest::default()
    };
    let mut stream = client.query(request).await.map_err(refused)?.into_inner();
    let mut result = Rows::default();
    while let Some(answer) = stream.message().await.map_err(refused)? {
        result.take(answer)?;
    }
    Ok(result)
}

impl Rows {
    fn take(&mut self, answer: QueryResponse) -> Result<(), Failure> {
        match answer.part {
            Some(Part::Columns(columns)) => {
                self.columns = columns.columns.into_iter().map(|column| column.name).collect();
            }
            Some(Part::Json(rows)) => {
                for row in rows.rows {
                    self.rows.push(serde_json::from_str(&row)?);
                }
            }
            Some(Part::ArrowIpc(_)) | None => {}
        }
        Ok(())
    }
}

fn object(columns: &[String], row: &[Value]) -> Value {
    columns.iter().cloned().zip(row.iter().cloned()).collect::<serde_json::Map<_, _>>().into()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
