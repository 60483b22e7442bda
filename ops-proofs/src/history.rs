//! The audit history, asked for in SQL.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use holdfast_proto::{
    chainfire::{AuditLevel, AuditRule, SetAuditPolicyRequest, admin_client::AdminClient},
    flaredb::{Consistency, Parameter, QueryRequest, RowFormat, flaredb_client::FlaredbClient, query_response::Part},
};
use serde_json::Value;
use tonic::{Request, transport::Channel};

const CALL: Duration = Duration::from_secs(20);
/// Revisions asked for at once: fewer rows than any limit of the server.
const WINDOW: i64 = 1_000;

/// What the history says about one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditRow {
    pub(crate) revision: i64,
    pub(crate) resource: String,
    pub(crate) outcome: String,
    /// Hexadecimal SHA-256 of the value.
    pub(crate) after: Option<String>,
}

/// One server's SQL and administration.
#[derive(Clone, Debug)]
pub(crate) struct History {
    channel: Channel,
    bearer: String,
}

impl History {
    pub(crate) fn new(channel: Channel, token: &str) -> Self {
        Self { channel, bearer: format!("Bearer {token}") }
    }

    /// Has every change of every user key recorded with its digests.
    pub(crate) async fn record_everything(&self) -> Result<()> {
        let everything = AuditRule { prefix: Vec::new().into(), level: AuditLevel::Digest.into() };
        let request = self.request(SetAuditPolicyRequest { rules: vec![everything] })?;
        let answer = AdminClient::new(self.channel.clone()).set_audit_policy(request).await;
        answer.context("cannot set the audit policy")?;
        Ok(())
    }

    /// The newest revision that the history knows.
    pub(crate) async fn newest_revision(&self) -> Result<Option<i64>> {
        let rows = self.query("SELECT max(revision) FROM audit.events WHERE action = 'kv.Put'", &[]).await?;
        Ok(rows.first().and_then(|row| row.first()).and_then(Value::as_i64))
    }

    /// Every row about a put between two revisions, both included, by revision.
    pub(crate) async fn puts(&self, first: i64, last: i64) -> Result<Vec<AuditRow>> {
        let mut found = Vec::new();
        let mut from = first;
        while from <= last {
            let to = last.min(from + WINDOW - 1);
            let sql = "SELECT revision, resource, outcome, after_digest FROM audit.events \
                       WHERE action = 'kv.Put' AND revision >= $1 AND revision <= $2 ORDER BY revision";
            for row in self.query(sql, &[from, to]).await? {
                found.push(parse(&row).with_context(|| format!("not an audit row: {row:?}"))?);
            }
            from = to + 1;
        }
        Ok(found)
    }

    async fn query(&self, sql: &str, parameters: &[i64]) -> Result<Vec<Vec<Value>>> {
        let request = QueryRequest {
            sql: sql.to_owned(),
            consistency: Consistency::Strong.into(),
            format: RowFormat::Json.into(),
            parameters: parameters.iter().map(|number| Parameter { text: Some(number.to_string()) }).collect(),
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
        request.metadata_mut().insert("authorization", self.bearer.parse().context("the token is not ASCII")?);
        request.set_timeout(CALL);
        Ok(request)
    }
}

fn parse(row: &[Value]) -> Option<AuditRow> {
    let [revision, resource, outcome, after] = row else { return None };
    Some(AuditRow {
        revision: revision.as_i64()?,
        resource: resource.as_str()?.to_owned(),
        outcome: outcome.as_str()?.to_owned(),
        after: after.as_str().map(str::to_owned),
    })
}
