use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    artifact::{Plane, SchemaVersion, Signature},
    names::ClusterName,
    reserved::{CONFIG_PUBLISHER, CONFIG_SERVER},
    spiffe::{SpiffeId, Subject},
    version::Version,
};

use super::{RevocationError, Sequence};

/// Who is subtracted from every allow list. Each envelope holds all of it, so the newest one is all that a node needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocations {
    pub schema_version: SchemaVersion,
    pub plane: Plane,
    /// Keeps a signature over revocations from being one over an artifact.
    pub kind: Kind,
    pub cluster: ClusterName,
    pub sequence: Sequence,
    /// The version that was published when this was made.
    pub base_version: Version,
    /// For people. No decision depends on it.
    #[serde(with = "time::serde::rfc3339")]
    pub generated_at: OffsetDateTime,
    /// For people.
    pub reason: String,
    /// Subtracted from every version.
    pub revoked: BTreeSet<SpiffeId>,
    /// Subtracted from every version below: that one was published without them.
    pub settled: BTreeMap<SpiffeId, Version>,
    /// Those that go although somebody may be locked out by it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allow_lockout: BTreeSet<SpiffeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Revocations,
}

impl Revocations {
    /// What follows `previous`, with everything that it holds. `None` when the sequences are used up.
    pub fn following(
        previous: Option<&Self>,
        cluster: &ClusterName,
        base_version: Version,
        generated_at: OffsetDateTime,
        reason: String,
    ) -> Option<Self> {
        let generated_at = generated_at.to_offset(time::UtcOffset::UTC);
        Some(Self {
            schema_version: SchemaVersion::V1_0,
            plane: Plane::Mgmt,
            kind: Kind::Revocations,
            cluster: cluster.clone(),
            sequence: previous.map_or(Sequence::NONE, |previous| previous.sequence).next()?,
            base_version,
            generated_at: generated_at.replace_nanosecond(0).unwrap_or(generated_at),
            reason,
            revoked: previous.map(|previous| previous.revoked.clone()).unwrap_or_default(),
            settled: previous.map(|previous| previous.settled.clone()).unwrap_or_default(),
            allow_lockout: previous.map(|previous| previous.allow_lockout.clone()).unwrap_or_default(),
            signature: None,
        })
    }

    /// Subtracts `id` from every version.
    pub fn revoke(&mut self, id: SpiffeId) {
        self.settled.remove(&id);
        self.revoked.insert(id);
    }

    /// Lets `id` count again from the base version on, which must not name it.
    pub fn settle(&mut self, id: &SpiffeId) {
        if let Some(id) = self.revoked.take(id) {
            self.settled.insert(id, self.base_version);
        }
    }

    /// Who is subtracted on a node that cannot go back behind `confirmed`.
    pub fn effective(&self, confirmed: Version) -> BTreeSet<SpiffeId> {
        let unsettled = self.settled.iter().filter(|(_, until)| confirmed < **until).map(|(id, _)| id.clone());
        self.revoked.iter().cloned().chain(unsettled).collect()
    }

    /// What can be said against it without knowing anything else.
    pub(super) fn check(&self) -> Result<(), RevocationError> {
        let malformed = |text: String| Err(RevocationError::Malformed(text));
        if self.sequence == Sequence::NONE {
            return malformed("sequence is 0; sequences begin at 1".into());
        }
        let signer = self.signature.iter().map(|signature| &signature.key_id);
        let ids = self.revoked.iter().chain(self.settled.keys()).chain(&self.allow_lockout);
        if let Some(id) = ids.chain(signer).find(|id| *id.cluster() != self.cluster) {
            return Err(RevocationError::WrongCluster { id: id.clone(), cluster: self.cluster.clone() });
        }
        if let Some(id) = self.revoked.iter().find(|id| matches!(id.subject(), Subject::Signer(_))) {
            return malformed(format!("{id} is a signer: a version that does not announce it takes its trust away"));
        }
        if let Some(id) = self.settled.keys().find(|id| self.revoked.contains(*id)) {
            return malformed(format!("{id} is both revoked and settled"));
        }
        if let Some((id, until)) = self.settled.iter().find(|(_, until)| **until > self.base_version) {
            return malformed(format!(
                "{id} is settled with version {until}, above base_version {}",
                self.base_version
            ));
        }
        let named = |id: &SpiffeId| self.revoked.contains(id) || self.settled.contains_key(id);
        if let Some(id) = self.allow_lockout.iter().find(|id| !named(id)) {
            return malformed(format!("{id} is in allow_lockout and not revoked"));
        }
        let mut named = self.revoked.iter().chain(self.settled.keys());
        match named.find(|id| is_own_way(id) && !self.allow_lockout.contains(*id)) {
            Some(id) => Err(RevocationError::OwnWay(id.clone())),
            None => Ok(()),
        }
    }
}

/// Whether nodes, or all operators, reach the servers as or through `id`.
fn is_own_way(id: &SpiffeId) -> bool {
    match id.subject() {
        Subject::Node(_) => true,
        Subject::Service { node: None, service } => matches!(service.as_str(), CONFIG_SERVER | CONFIG_PUBLISHER),
        Subject::Service { node: Some(_), .. } | Subject::User(_) | Subject::Signer(_) => false,
    }
}
