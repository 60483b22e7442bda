//! The event that every audit stream becomes: one row of `audit.events`.
//!
//! Its key is (stream, sequence, sub). A stream is one ordered source of events that restarts neither its numbers nor
//! its name: `journal/<lineage>` with the Raft log index as sequence, `decisions/<server>/<spool>` with that spool's
//! own numbers, and `flaredb` for what happens to this store itself. So a restored lineage and a server with another
//! disk can both use numbers again without touching older rows.

use uuid::Uuid;

use crate::{Author, TableName, Value};

pub const SCHEMA: &str = "audit";
/// The stream of flaredb's own events; its sequence is flaredb's Raft log index.
pub const FLAREDB_STREAM: &str = "flaredb";

/// The columns of [`Event::into_row`], in its order.
pub const COLUMNS: [&str; 22] = [
    "stream",
    "sequence",
    "sub",
    "event_id",
    "lineage",
    "log_index",
    "revision",
    "time",
    "actor",
    "authenticated_by",
    "source",
    "token_id",
    "action",
    "resource",
    "outcome",
    "reason",
    "request_id",
    "before_digest",
    "after_digest",
    "service",
    "node",
    "count",
];

/// `audit.events`.
pub fn events() -> TableName {
    TableName::new(SCHEMA, "events")
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub stream: String,
    pub sequence: u64,
    pub sub: u32,
    pub event_id: String,
    pub lineage: Option<Uuid>,
    pub log_index: Option<u64>,
    pub revision: Option<u64>,
    pub time_ms: u64,
    pub actor: String,
    pub authenticated_by: String,
    pub source: Option<String>,
    pub token_id: Option<String>,
    pub action: String,
    pub resource: String,
    /// `done`, `refused`, `denied`, or `gap`.
    pub outcome: String,
    pub reason: Option<String>,
    pub request_id: String,
    pub before_digest: Option<[u8; 32]>,
    pub after_digest: Option<[u8; 32]>,
    pub service: String,
    /// The server that recorded it, for events that only one server knows.
    pub node: Option<String>,
    /// How many equal events the row stands for.
    pub count: u64,
}

impl Event {
    /// A single event of `author` that was done.
    pub fn new(
        stream: impl Into<String>,
        sequence: u64,
        author: &Author,
        time_ms: u64,
        action: impl Into<String>,
        resource: impl Into<String>,
    ) -> Self {
        let (stream, action) = (stream.into(), action.into());
        Self {
            event_id: format!("{stream}/{sequence}/0"),
            service: service_of(&action),
            stream,
            sequence,
            sub: 0,
            lineage: None,
            log_index: None,
            revision: None,
            time_ms,
            actor: author.principal.clone(),
            authenticated_by: author.authenticated_by.clone(),
            source: author.source.clone(),
            token_id: author.token_id.clone(),
            action,
            resource: resource.into(),
            outcome: "done".to_owned(),
            reason: None,
            request_id: author.request_id.clone(),
            before_digest: None,
            after_digest: None,
            node: None,
            count: 1,
        }
    }

    /// The row, in the order of [`COLUMNS`]. The character NUL, which TEXT cannot hold, is shown as `\0`.
    pub fn into_row(self) -> Vec<Value> {
        vec![
            text(self.stream),
            number(self.sequence),
            Value::Int(i32::try_from(self.sub).unwrap_or(i32::MAX)),
            text(self.event_id),
            self.lineage.map_or(Value::Null, Value::Uuid),
            self.log_index.map_or(Value::Null, number),
            self.revision.map_or(Value::Null, number),
            Value::Timestamptz(i64::try_from(self.time_ms).unwrap_or(i64::MAX).saturating_mul(1_000)),
            text(self.actor),
            text(self.authenticated_by),
            optional(self.source),
            optional(self.token_id),
            text(self.action),
            text(self.resource),
            text(self.outcome),
            optional(self.reason),
            text(self.request_id),
            digest(self.before_digest),
            digest(self.after_digest),
            text(self.service),
            optional(self.node),
            number(self.count),
        ]
    }
}

/// The part of an action before its verb: `kv.Put` belongs to `kv`.
pub fn service_of(action: &str) -> String {
    action.split('.').next().unwrap_or(action).to_owned()
}

fn text(value: String) -> Value {
    Value::Text(if value.contains('\0') { value.replace('\0', "\\0") } else { value })
}

fn optional(value: Option<String>) -> Value {
    value.map_or(Value::Null, text)
}

fn number(value: u64) -> Value {
    Value::Bigint(i64::try_from(value).unwrap_or(i64::MAX))
}

fn digest(value: Option<[u8; 32]>) -> Value {
    value.map_or(Value::Null, |bytes| Value::Bytea(bytes.to_vec()))
}
