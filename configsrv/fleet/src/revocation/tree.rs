use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    reserved::CONFIG_PUBLISHER,
    spiffe::{SpiffeId, Subject},
};

use super::{RevocationError, Revocations};

/// What the payloads of a version say about somebody. It reads no more of them than it needs, so that payloads of a later
/// release count, too.
#[derive(Clone, Debug, Default)]
pub struct Named {
    ids: BTreeSet<SpiffeId>,
    operators: BTreeSet<SpiffeId>,
}

#[derive(Deserialize)]
struct Rows {
    #[serde(default)]
    ingress: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    target_spiffe_id: SpiffeId,
    allow: Vec<SpiffeId>,
}

impl Named {
    /// Adds one payload, as JSON.
    pub fn note(&mut self, payload: &[u8]) -> Result<(), serde_json::Error> {
        let value: Value = serde_json::from_slice(payload)?;
        // Signers are no peers.
        let peers = value.as_object().into_iter().flatten().filter(|(field, _)| *field != "trust");
        peers.for_each(|(_, value)| self.collect(value));
        for row in Rows::deserialize(&value)?.ingress {
            let publisher = matches!(row.target_spiffe_id.subject(),
                Subject::Service { node: None, service } if service.as_str() == CONFIG_PUBLISHER);
            if publisher {
                self.operators.extend(row.allow.into_iter().filter(|id| matches!(id.subject(), Subject::User(_))));
            }
        }
        Ok(())
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.ids.extend(text.parse::<SpiffeId>()),
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.collect(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Whether any payload mentions `id`, wherever.
    pub fn contains(&self, id: &SpiffeId) -> bool {
        self.ids.contains(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = &SpiffeId> {
        self.ids.iter()
    }

    /// Refuses revocations after which no operator would reach the publisher, unless they say that they may.
    pub fn keeps_an_operator(&self, revocations: &Revocations) -> Result<(), RevocationError> {
        let unmeant = |id: &&SpiffeId| revocations.revoked.contains(*id) && !revocations.allow_lockout.contains(*id);
        let gone: Vec<&SpiffeId> = self.operators.iter().filter(unmeant).collect();
        if gone.is_empty() || self.operators.iter().any(|id| !revocations.revoked.contains(id)) {
            return Ok(());
        }
        let names: Vec<String> = gone.iter().map(|id| id.subject().to_string()).collect();
        Err(RevocationError::LastOperator(names.join(", ")))
    }
}
