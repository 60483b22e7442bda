//! Journal records and decisions as events.

use chainfire_core::journal::{JournalRecord, Outcome};
use flaredb_core::{
    Author,
    audit::{Event, service_of},
};
use iam_client::DecisionRecord;
use uuid::Uuid;

use crate::database::{author, now_ms};

/// The stream of one lineage's journal.
pub(super) fn journal_stream(lineage: Uuid) -> String {
    format!("journal/{lineage}")
}

pub(super) fn from_journal(stream: &str, record: &JournalRecord) -> Event {
    let (outcome, reason) = match &record.outcome {
        // The one that the caller gave, where the call asks for one.
        Outcome::Done => ("done", record.reason.clone()),
        Outcome::Refused(reason) => ("refused", Some(reason.clone())),
    };
    let position = record.position;
    let who = author(&record.origin);
    Event {
        sub: position.sub,
        event_id: format!("{}/{}/{}", position.lineage, position.index, position.sub),
        lineage: Some(position.lineage),
        log_index: Some(position.index),
        revision: record.revision,
        outcome: outcome.to_owned(),
        reason,
        before_digest: record.before,
        after_digest: record.after,
        ..Event::new(stream, position.index, &who, record.time_ms, record.action.as_str(), record.resource.as_str())
    }
}

pub(super) fn from_decision(stream: &str, node: &str, record: &DecisionRecord) -> Event {
    Event {
        stream: stream.to_owned(),
        sequence: record.sequence,
        sub: 0,
        event_id: record.event_id.clone(),
        lineage: None,
        log_index: None,
        revision: None,
        time_ms: record.time_ms,
        actor: record.principal.clone(),
        authenticated_by: record.authenticated_by.clone(),
        source: record.source.clone(),
        token_id: record.token_id.clone(),
        action: record.action.clone(),
        resource: record.resource.clone(),
        outcome: record.outcome.clone(),
        reason: record.reason.clone(),
        request_id: record.request_id.clone(),
        before_digest: None,
        after_digest: None,
        service: service_of(&record.action),
        node: Some(node.to_owned()),
        count: record.count,
    }
}

/// Decisions `from..=to` that the server made and lost. The row stands at the place of the first of them.
pub(super) fn gap(stream: &str, node: &str, from: u64, to: u64) -> Event {
    let missing = to.saturating_sub(from).saturating_add(1);
    let reason = format!("decisions {from} to {to} of server {node} are missing");
    Event { count: missing, ..lost(stream, node, from, reason) }
}

/// A server whose spool is another one than before: what it had decided there and not shipped is not known.
pub(super) fn new_spool(stream: &str, node: &str) -> Event {
    let reason = format!("server {node} has another decision log; what the former one had not shipped is lost");
    lost(stream, node, 0, reason)
}

fn lost(stream: &str, node: &str, sequence: u64, reason: String) -> Event {
    let who = Author {
        principal: "system/flaredb".to_owned(),
        authenticated_by: "system".to_owned(),
        source: None,
        token_id: None,
        request_id: format!("{stream}/{sequence}"),
    };
    Event {
        outcome: "gap".to_owned(),
        reason: Some(reason),
        node: Some(node.to_owned()),
        ..Event::new(stream, sequence, &who, now_ms(), "audit.Gap", format!("server/{node}"))
    }
}
