//! `GET /audit`: the history as JSON, for whoever has curl and no SQL.

use std::{iter::repeat, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::get,
};
use datafusion::arrow::datatypes::DataType;
use flaredb_core::SqlState;
use flaredb_sql::{Error, OutputColumn, Rows, Statement, parameter_from_text, parse};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Consistency, Flaredb, answer::rpc, wire};

/// Events of one answer, at most and by default.
const MOST: u64 = 1000;
const BEGINNING: &str = "1970-01-01T00:00:00Z";

impl Flaredb {
    /// The HTTP interface, to be put into a router behind the IAM layer.
    pub fn http(&self) -> Router {
        Router::new().route("/audit", get(audit)).with_state(self.clone())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Events from this moment on, RFC 3339; all if absent.
    since: Option<String>,
    /// Only this action; `config.*` is everything that begins so.
    action: Option<String>,
    /// At most so many, the oldest first.
    limit: Option<u64>,
    /// What this server knows, without a quorum.
    #[serde(default)]
    local: bool,
}

async fn audit(
    State(flaredb): State<Flaredb>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, holdfast_rpc::Error> {
    let Query(asked) = asked.map_err(|rejection| rpc(refused(rejection.body_text())))?;
    page(&flaredb, asked).await.map(Json).map_err(rpc)
}

async fn page(flaredb: &Flaredb, asked: Asked) -> Result<Value, Error> {
    let limit = match asked.limit {
        Some(0) => return Err(refused("limit: it is a number from 1 on")),
        limit => limit.unwrap_or(MOST).min(MOST),
    };
    let consistency = if asked.local { Consistency::Local } else { Consistency::Strong };
    let pattern = pattern(asked.action.as_deref())?;
    // One more than asked for says whether there are more.
    let sql = format!(
        "SELECT event_id, time, actor, authenticated_by, source, service, action, resource, outcome, reason, count, \
         request_id, stream, sequence, sub FROM audit.events WHERE time >= $1 AND action LIKE $2 \
         ORDER BY time, stream, sequence, sub LIMIT {}",
        limit + 1
    );
    let Ok([Statement::Read(statement)]) = <[Statement; 1]>::try_from(parse(&sql)?) else {
        return Err(Error::new(SqlState::InternalError, "a query is one statement that reads"));
    };
    let texts = [asked.since.unwrap_or_else(|| BEGINNING.to_owned()), pattern];
    let values = move |wanted: &[Option<DataType>]| {
        let kinds = wanted.iter().map(Option::as_ref).chain(repeat(None));
        texts.into_iter().zip(kinds).map(|(text, kind)| parameter_from_text(Some(text), kind)).collect()
    };
    let budget = flaredb.config().limits.budget.at_most(0, Duration::ZERO);
    let (rows, _) = flaredb.query(&statement, Box::new(values), consistency, budget).await?;
    let mut events = objects(rows).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = events.len() > limit;
    events.truncate(limit);
    Ok(json!({ "events": events, "more": more }))
}

/// What the words of actions are compared with.
fn pattern(action: Option<&str>) -> Result<String, Error> {
    let action = action.unwrap_or("*");
    if action.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'*')) {
        Ok(action.replace('*', "%"))
    } else {
        Err(refused("action: write config.Publish, or config.* for everything that begins so"))
    }
}

async fn objects(mut rows: Rows) -> Result<Vec<Value>, Error> {
    let columns = rows.columns.clone();
    let mut all = Vec::new();
    while let Some(batch) = rows.next().await {
        for chunk in wire::JsonChunks::new(&batch?, &columns)? {
            for row in chunk? {
                all.push(object(&columns, &row)?);
            }
        }
    }
    Ok(all)
}

fn object(columns: &[OutputColumn], row: &str) -> Result<Value, Error> {
    let cells: Vec<Value> =
        serde_json::from_str(row).map_err(|error| Error::new(SqlState::InternalError, error.to_string()))?;
    Ok(columns.iter().map(|column| column.name.clone()).zip(cells).collect::<Map<_, _>>().into())
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_words_and_stars() {
        assert_eq!(pattern(None).unwrap(), "%");
        assert_eq!(pattern(Some("config.*")).unwrap(), "config.%");
        assert_eq!(pattern(Some("config.Publish")).unwrap(), "config.Publish");
        for bad in ["%", "config_", "'", "a b"] {
            assert!(pattern(Some(bad)).is_err(), "{bad}");
        }
    }
}
