//! What is written into the decision log, and for whom.

use async_trait::async_trait;
use holdfast_rpc::Connection;
use http::Extensions;
use iam_client::{Caller, DecisionRecord, DisclosureLog, Identity, Refusal, RequestId};

use crate::{Error, Iam, authority::AUTHENTICATE, iam::Inner, spool::Denial};

/// Who calls, as far as the decision log is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) principal: String,
    pub(crate) authenticated_by: &'static str,
    pub(crate) source: Option<std::net::SocketAddr>,
    pub(crate) token_id: Option<String>,
    pub(crate) request_id: String,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    action: &'static str,
    resource: String,
    token_id: Option<String>,
    reason: Option<String>,
}

impl Call {
    /// A caller of a public door.
    pub(crate) fn public(extensions: &Extensions) -> Self {
        let source = extensions.get::<Connection>().map(|connection| connection.source);
        let request_id = extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Self::anonymous(source, request_id)
    }

    pub(crate) fn of(identity: &Identity) -> Self {
        Self {
            principal: identity.principal.to_string(),
            authenticated_by: identity.authenticated_by.as_str(),
            source: identity.source,
            token_id: identity.token_id.clone(),
            request_id: identity.request_id.clone(),
        }
    }
}

impl Event {
    pub(crate) fn done(action: &'static str, resource: impl Into<String>) -> Self {
        Self { action, resource: resource.into(), token_id: None, reason: None }
    }

    /// Why it was done, as far as that is known.
    pub(crate) fn because(mut self, reason: &str) -> Self {
        self.reason = Some(shortened(reason));
        self
    }

    /// The token that the event is about, where it is not the caller's own.
    pub(crate) fn token(mut self, jti: &str) -> Self {
        self.token_id = Some(jti.to_owned());
        self
    }
}

#[async_trait]
impl DisclosureLog for Iam {
    async fn record_disclosure(&self, caller: &Identity, action: &'static str, resource: &str) -> Result<(), Refusal> {
        let recorded = self.0.record(&Call::of(caller), Event::done(action, resource)).await;
        recorded.map_err(|error| Refusal::Unavailable(error.to_string()))
    }
}

impl Inner {
    /// Returns when the record is on disk.
    pub(crate) async fn record(&self, call: &Call, event: Event) -> Result<(), Error> {
        let record = DecisionRecord {
            sequence: 0,
            event_id: String::new(),
            time_ms: self.now_ms(),
            principal: call.principal.clone(),
            authenticated_by: call.authenticated_by.to_owned(),
            source: call.source.map(|source| source.to_string()),
            token_id: event.token_id.or_else(|| call.token_id.clone()),
            request_id: call.request_id.clone(),
            action: event.action.to_owned(),
            resource: event.resource,
            outcome: "done".to_owned(),
            reason: event.reason,
            count: 1,
        };
        self.spool.append(record).await?;
        Ok(())
    }

    /// Counts a denial; never waits.
    pub(crate) fn record_denial(&self, call: &Call, action: &str, resource: &str, reason: &str) {
        self.metrics.denied.inc();
        let anonymous = call.principal == Caller::Anonymous.to_string() && action != AUTHENTICATE;
        let denial = Denial {
            principal: call.principal.clone(),
            authenticated_by: call.authenticated_by,
            source: call.source.map(|source| source.ip().to_string()),
            action: action.to_owned(),
            resource: if anonymous { kind(resource) } else { shortened(resource) },
            reason: shortened(reason),
        };
        self.spool.deny(denial, self.now_ms());
    }
}

/// A caller without a name invents resources; only their kind is kept, so that such denials are counted together.
fn kind(resource: &str) -> String {
    let kind = resource.split_once('/').map_or("", |(kind, _)| kind);
    format!("{}/*", shortened(kind))
}

/// What a caller chose must not fill the log.
fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}
