use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{digest::Digest, duration::Span, names::NodeName, version::Version};

use super::{ArtifactError, Payload, SchemaVersion, Sealed, Signature, SigningKey, to_canonical};

/// An artifact in all its meaning, as the writer makes it and a strict reader ([`Sealed::open`]) understands it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    pub schema_version: SchemaVersion,
    pub plane: Plane,
    pub layer: Layer,
    pub version: Version,
    /// The addressee.
    pub node: NodeName,
    /// For people: when this version was compiled. No decision depends on it.
    #[serde(with = "time::serde::rfc3339")]
    pub generated_at: OffsetDateTime,
    /// When a node that has seen nothing newer is to raise an alarm. Since 1.1.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    pub payload: Payload,
    pub payload_digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    Mgmt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    Cluster,
}

impl Envelope {
    /// An unsigned envelope around `payload`, addressed to its node; `generated_at` is cut to whole seconds.
    pub fn new(version: Version, generated_at: OffsetDateTime, payload: Payload) -> Result<Self, ArtifactError> {
        Ok(Self {
            schema_version: SchemaVersion::V1_0,
            plane: Plane::Mgmt,
            layer: Layer::Cluster,
            version,
            node: payload.node.clone(),
            generated_at: whole_seconds(generated_at),
            expires_at: None,
            payload_digest: payload.digest()?,
            payload,
            signature: None,
        })
    }

    /// The same, fresh for so long after it was made.
    #[must_use]
    pub fn fresh_for(mut self, span: Option<Span>) -> Self {
        self.expires_at = span.map(|span| self.generated_at + span.as_duration());
        self.schema_version = self.lowest_schema();
        self
    }

    /// The oldest schema that has every field which is used here.
    pub fn lowest_schema(&self) -> SchemaVersion {
        if self.expires_at.is_none() { SchemaVersion::V1_0 } else { SchemaVersion::V1_1 }
    }

    /// The bytes that travel, signed by `key` if there is one. A signature that is already there is replaced.
    pub fn seal(mut self, key: Option<&SigningKey>) -> Result<Sealed, ArtifactError> {
        self.signature = None;
        if let Some(key) = key {
            self.signature = Some(key.sign(&to_canonical(&self)?));
        }
        Sealed::parse(&to_canonical(&self)?)
    }
}

fn whole_seconds(moment: OffsetDateTime) -> OffsetDateTime {
    let moment = moment.to_offset(time::UtcOffset::UTC);
    moment.replace_nanosecond(0).unwrap_or(moment)
}
