//! The audit history, asked for in SQL.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use holdfast_proto::{
    chainfire::{AuditLevel, AuditRule, SetAuditPolicyRequest, admin_client::AdminClient},
    flaredb::{
        Consistency, Parameter, QueryRequest, RowFormat, StatusRequest, flaredb_client::FlaredbClient,
        query_response::Part,
    },
};
use serde::Serialize;
use serde_json::Value;
use tonic::{Request, transport::Channel};

use crate::metrics;

const CALL: Duration = Duration::from_secs(20);
/// Log entries asked for at once: fewer rows than any limit of the server.
const WINDOW: i64 = 500;
/// Streams of chainfire's journal begin with this, and the lineage follows.
const JOURNAL: &str = "journal/";

/// One row that came out of chainfire's audit journal. Digests are hexadecimal SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditRow {
    pub(crate) lineage: String,
    /// Raft log index of the entry that made the change.
    pub(crate) index: i64,
    /// Counts the records of one entry from 0.
    pub(crate) sub: i64,
    pub(crate) sequence: i64,
    pub(crate) event_id: String,
    pub(crate) revision: Option<i64>,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) outcome: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    /// How many equal events the row stands for.
    pub(crate) count: i64,
}

/// How far one server's copy of the history has come, and what its journal still holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Position {
    pub(crate) member: String,
    pub(crate) stream: String,
    /// Rows that the stream has brought, by its cursor.
    pub(crate) rows: u64,
    /// Bytes of the journal that the history does not have yet.
    pub(crate) unshipped_bytes: u64,
}

/// One server's SQL and administration.
#[derive(Clone, Debug)]
pub(crate) struct History {
    member: String,
    address: String,
    channel: Channel,
    token: String,
}

impl History {
    /// `address` is that of the server's API.
    pub(crate) fn new(member: &str, address: &str, channel: Channel, token: &str) -> Self {
        Self { member: member.to_owned(), address: address.to_owned(), channel, token: token.to_owned() }
    }

    pub(crate) fn member(&self) -> &str {
        &self.member
    }

    /// Has every change of every user key recorded with its digests.
    pub(crate) async fn record_everything(&self) -> Result<()> {
        let everything = AuditRule { prefix: Vec::new().into(), level: AuditLevel::Digest.into() };
        let request = self.request(SetAuditPolicyRequest { rules: vec![everything] })?;
        let answer = AdminClient::new(self.channel.clone()).set_audit_policy(request).await;
        answer.context("cannot set the audit policy")?;
        Ok(())
    }

    /// Where the journal and the stream that it feeds stand on this server.
    pub(crate) async fn position(&self) -> Result<Position> {
        // The journal first: what it had forgotten by then is in the stream when that is looked at.
        let unshipped_bytes = metrics::sample(&self.address, &self.token, "holdfast_journal_used_bytes").await?;
        let answer = FlaredbClient::new(self.channel.clone()).status(self.request(StatusRequest {})?).await?;
        let mut streams = answer.into_inner().streams.into_iter().filter(|stream| stream.name.starts_with(JOURNAL));
        let (stream, more) = (streams.next().context("no stream of the journal")?, streams.next());
        if let Some(more) = more {
            bail!("the journal has two lineages where nothing was restored: {} and {}", stream.name, more.name);
        }
        Ok(Position { member: self.member.clone(), stream: stream.name, rows: stream.rows, unshipped_bytes })
    }

    /// Every row that `stream` brought, in its order, from this server's own copy.
    pub(crate) async fn rows(&self, stream: &str) -> Result<Vec<AuditRow>> {
        let last = "SELECT max(sequence) FROM audit.events WHERE stream = $1";
        let last = self.query(last, &[stream.to_owned()]).await?;
        let last = last.first().and_then(|row| row.first()).and_then(Value::as_i64).context("the stream is empty")?;
        let sql = "SELECT lineage, log_index, sub, sequence, event_id, revision, action, resource, outcome, \
                   before_digest, after_digest, count FROM audit.events \
                   WHERE stream = $1 AND sequence >= $2 AND sequence < $3 ORDER BY sequence, sub";
        let mut found = Vec::new();
        let mut from = 0;
        while from <= last {
            let to = from + WINDOW;
            for row in self.query(sql, &[stream.to_owned(), from.to_string(), to.to_string()]).await? {
                found.push(parse(&row).with_context(|| format!("not a row of the journal: {row:?}"))?);
            }
            from = to;
        }
        Ok(found)
    }

    async fn query(&self, sql: &str, parameters: &[String]) -> Result<Vec<Vec<Value>>> {
        let request = QueryRequest {
            sql: sql.to_owned(),
            consistency: Consistency::Local.into(),
            format: RowFormat::Json.into(),
            parameters: parameters.iter().map(|text| Parameter { text: Some(text.clone()) }).collect(),
            ..QueryRequest::default()
        };
        let mut answers = FlaredbClient::new(self.channel.clone()).query(self.request(request)?).await?.into_inner();
        let mut rows = Vec::new();
        while let Some(answer) = answers.message().await? {
            match answer.part {
                Some(Part::Json(part)) => {
                    for row in part.rows {
                        rows.push(serde_json::from_str(&row).context("a row that is not a JSON array")?);
                    }
                }
                Some(Part::Columns(_)) | None => {}
                Some(Part::ArrowIpc(_)) => bail!("Arrow where JSON was asked for"),
            }
        }
        Ok(rows)
    }

    fn request<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token);
        request.metadata_mut().insert("authorization", bearer.parse().context("the token is not ASCII")?);
        request.set_timeout(CALL);
        Ok(request)
    }
}

fn parse(row: &[Value]) -> Option<AuditRow> {
    let [lineage, index, sub, sequence, event_id, revision, action, resource, outcome, before, after, count] = row
    else {
        return None;
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(AuditRow {
        lineage: text(lineage)?,
        index: index.as_i64()?,
        sub: sub.as_i64()?,
        sequence: sequence.as_i64()?,
        event_id: text(event_id)?,
        revision: revision.as_i64(),
        action: text(action)?,
        resource: text(resource)?,
        outcome: text(outcome)?,
        before: text(before),
        after: text(after),
        count: count.as_i64()?,
    })
}
