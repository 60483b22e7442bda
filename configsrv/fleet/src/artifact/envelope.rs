use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{digest::Digest, names::NodeName, version::Version};

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
        let generated_at = generated_at.to_offset(time::UtcOffset::UTC);
        Ok(Self {
            schema_version: SchemaVersion::ENVELOPE,
            plane: Plane::Mgmt,
            layer: Layer::Cluster,
            version,
            node: payload.node.clone(),
            generated_at: generated_at.replace_nanosecond(0).unwrap_or(generated_at),
            payload_digest: payload.digest()?,
            payload,
            signature: None,
        })
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
