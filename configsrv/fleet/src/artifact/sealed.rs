use std::ops::Range;

use serde_json::{Map, Value};

use crate::{
    digest::Digest,
    names::{ClusterName, NodeName},
    spiffe::SpiffeId,
    version::Version,
};

use super::{
    Algorithm, ArtifactError, Envelope, PublicKey, SchemaVersion, Signature, Signer,
    canonical::{check_value, to_canonical},
};

/// The largest artifact, in bytes.
pub const MAX_ARTIFACT: usize = 4 * 1024 * 1024;
/// The largest publish request, in bytes.
pub const MAX_TREE: usize = 32 * 1024 * 1024;
/// The most nodes of a tree.
pub const MAX_NODES: usize = 10_000;

/// An artifact as it travels: its exact bytes, and the few fields that decide where it goes.
///
/// This is the relay's view. It does not gate on the schema and understands nothing of the payload, so a relay of this
/// release carries artifacts of the next one unchanged. [`Sealed::open`] is the addressee's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    bytes: Vec<u8>,
    payload: Range<usize>,
    version: Version,
    node: NodeName,
    schema_version: SchemaVersion,
    payload_digest: Digest,
    signature: Option<Claimed>,
}

/// A signature as a relay reads it: what a later release adds to it, and by what means it signs, is for the addressee.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
struct Claimed {
    alg: String,
    key_id: SpiffeId,
    value: String,
}

/// What an addressee demands before it looks at an artifact.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    pub cluster: &'a ClusterName,
    pub node: &'a NodeName,
    /// Whom the addressee trusts already; never the list inside of the artifact in question.
    pub signers: &'a [Signer],
}

/// Puts together again what [`Sealed::before`], [`Sealed::payload`] and [`Sealed::after`] took apart.
pub fn assemble(before: &[u8], payload: &[u8], after: &[u8]) -> Vec<u8> {
    [before, payload, after].concat()
}

impl Sealed {
    /// Reads the exact bytes of an artifact.
    pub fn parse(bytes: &[u8]) -> Result<Self, ArtifactError> {
        if bytes.len() > MAX_ARTIFACT {
            return Err(ArtifactError::TooLarge { size: bytes.len(), limit: MAX_ARTIFACT });
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| ArtifactError::NotJson(error.to_string()))?;
        let sealed = Self::from_value(&value)?;
        // Also catches repeated keys, which the JSON reader folds into one.
        if sealed.bytes == bytes { Ok(sealed) } else { Err(ArtifactError::NotCanonical) }
    }

    /// Takes an artifact out of a larger JSON document, where its spelling does not matter.
    pub fn from_value(value: &Value) -> Result<Self, ArtifactError> {
        check_value(value, 0)?;
        let Value::Object(fields) = value else {
            return Err(ArtifactError::Malformed("an artifact is a JSON object".into()));
        };
        let plane = text(fields, "plane")?;
        if plane != "mgmt" {
            return Err(ArtifactError::Malformed(format!("plane is \"{plane}\", expected \"mgmt\"")));
        }
        let (bytes, payload) = spell(fields)?;
        if bytes.len() > MAX_ARTIFACT {
            return Err(ArtifactError::TooLarge { size: bytes.len(), limit: MAX_ARTIFACT });
        }
        let actual = Digest::of(bytes.get(payload.clone()).unwrap_or_default());
        let claimed: Digest = read(fields, "payload_digest")?;
        if claimed != actual {
            return Err(ArtifactError::Digest { claimed, actual });
        }
        let version: Version = read(fields, "version")?;
        if version == Version::NONE {
            return Err(ArtifactError::Malformed("version is 0; versions begin at 1".into()));
        }
        let signature = match fields.get("signature") {
            None => None,
            Some(_) => Some(read(fields, "signature")?),
        };
        Ok(Self {
            version,
            node: read(fields, "node")?,
            schema_version: read(fields, "schema_version")?,
            payload_digest: actual,
            signature,
            payload,
            bytes,
        })
    }

    /// The RFC 8785 form, without a trailing newline.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn node(&self) -> &NodeName {
        &self.node
    }

    pub fn schema_version(&self) -> SchemaVersion {
        self.schema_version
    }

    pub fn payload_digest(&self) -> Digest {
        self.payload_digest
    }

    /// Whose signature it claims to carry; nothing is verified yet.
    pub fn key_id(&self) -> Option<&SpiffeId> {
        self.signature.as_ref().map(|signature| &signature.key_id)
    }

    /// The bytes of the payload, equal for equal digests.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload.clone()).unwrap_or_default()
    }

    /// The bytes before the payload.
    pub fn before(&self) -> &[u8] {
        self.bytes.get(..self.payload.start).unwrap_or_default()
    }

    /// The bytes after the payload.
    pub fn after(&self) -> &[u8] {
        self.bytes.get(self.payload.end..).unwrap_or_default()
    }

    /// The signers that the payload announces. Like the routing fields it is read leniently, so that a server can
    /// follow a rotation of keys in artifacts that it does not understand otherwise.
    pub fn announced_signers(&self) -> Result<Vec<Signer>, ArtifactError> {
        #[derive(serde::Deserialize)]
        struct Announcing {
            trust: Announced,
        }
        #[derive(serde::Deserialize)]
        struct Announced {
            authorized_mgmt_signers: Vec<Known>,
        }
        #[derive(serde::Deserialize)]
        struct Known {
            spiffe_id: SpiffeId,
            pubkey: PublicKey,
        }
        let payload: Announcing = serde_json::from_slice(self.payload())
            .map_err(|error| ArtifactError::Malformed(format!("payload.trust: {error}")))?;
        let known = payload.trust.authorized_mgmt_signers.into_iter();
        Ok(known.map(|Known { spiffe_id, pubkey }| Signer { spiffe_id, pubkey }).collect())
    }

    /// Checks the signature against `signers` and returns whose it is.
    pub fn verify<'a>(&self, signers: &'a [Signer]) -> Result<&'a Signer, ArtifactError> {
        let Claimed { alg, key_id, value } = self.signature.as_ref().ok_or(ArtifactError::Unsigned)?;
        let signer = signers
            .iter()
            .find(|signer| signer.spiffe_id == *key_id)
            .ok_or_else(|| ArtifactError::UnknownSigner(key_id.clone()))?;
        let mut fields: Map<String, Value> =
            serde_json::from_slice(&self.bytes).map_err(|error| ArtifactError::NotJson(error.to_string()))?;
        fields.remove("signature");
        let signature = Signature { alg: Algorithm::Ed25519, key_id: key_id.clone(), value: value.clone() };
        if alg == Algorithm::ED25519 && signer.pubkey.verify(&to_canonical(&fields)?, &signature) {
            Ok(signer)
        } else {
            Err(ArtifactError::BadSignature(key_id.clone()))
        }
    }

    /// Reads the artifact strictly: schema first, then every field; an unknown one is refused.
    pub fn open(&self) -> Result<Envelope, ArtifactError> {
        #[derive(serde::Deserialize)]
        struct Stamped {
            schema_version: SchemaVersion,
        }
        self.schema_version.check("envelope", SchemaVersion::ENVELOPE)?;
        let stamp: Stamped = serde_json::from_slice(self.payload())
            .map_err(|error| ArtifactError::Malformed(format!("payload: {error}")))?;
        stamp.schema_version.check("payload", SchemaVersion::PAYLOAD)?;
        let envelope: Envelope =
            serde_json::from_slice(&self.bytes).map_err(|error| ArtifactError::Malformed(error.to_string()))?;
        // A reader of the stamped schema would refuse it as garbage.
        for (part, stamped, used) in [
            ("envelope", envelope.schema_version, envelope.lowest_schema()),
            ("payload", envelope.payload.schema_version, envelope.payload.lowest_schema()),
        ] {
            if stamped < used {
                let text = format!("the {part} says schema {stamped} and uses fields of {used}");
                return Err(ArtifactError::Malformed(text));
            }
        }
        if envelope.payload.node != envelope.node {
            return Err(ArtifactError::WrongNode { expected: envelope.node, found: envelope.payload.node });
        }
        Ok(envelope)
    }

    /// What a node does before it stages an artifact: schema gate, addressee, signature by a key that it trusts
    /// already, then everything inside in its own trust domain.
    pub fn admit(&self, gate: &Gate<'_>) -> Result<Envelope, ArtifactError> {
        self.schema_version.check("envelope", SchemaVersion::ENVELOPE)?;
        if self.node != *gate.node {
            return Err(ArtifactError::WrongNode { expected: gate.node.clone(), found: self.node.clone() });
        }
        self.verify(gate.signers)?;
        let envelope = self.open()?;
        envelope.payload.check_cluster(gate.cluster)?;
        Ok(envelope)
    }
}

/// The canonical bytes, and where the payload is in them.
fn spell(fields: &Map<String, Value>) -> Result<(Vec<u8>, Range<usize>), ArtifactError> {
    let payload =
        fields.get("payload").filter(|payload| payload.is_object()).ok_or_else(|| missing("payload", "an object"))?;
    let payload = to_canonical(payload)?;
    let others: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| *name != "payload")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut names: Vec<&String> = others.keys().collect();
    // RFC 8785 orders names by UTF-16 code units.
    names.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
    let split = names.partition_point(|name| name.encode_utf16().lt("payload".encode_utf16()));
    let mut bytes = b"{".to_vec();
    for (at, name) in names.iter().enumerate().take(split) {
        if at > 0 {
            bytes.push(b',');
        }
        push_field(&mut bytes, name, &others)?;
    }
    if split > 0 {
        bytes.push(b',');
    }
    bytes.extend_from_slice(b"\"payload\":");
    let start = bytes.len();
    bytes.extend_from_slice(&payload);
    let end = bytes.len();
    for name in names.iter().skip(split) {
        bytes.push(b',');
        push_field(&mut bytes, name, &others)?;
    }
    bytes.push(b'}');
    Ok((bytes, start..end))
}

fn push_field(bytes: &mut Vec<u8>, name: &str, fields: &Map<String, Value>) -> Result<(), ArtifactError> {
    bytes.extend_from_slice(&to_canonical(&name)?);
    bytes.push(b':');
    bytes.extend_from_slice(&to_canonical(fields.get(name).unwrap_or(&Value::Null))?);
    Ok(())
}

fn missing(name: &str, expected: &str) -> ArtifactError {
    ArtifactError::Malformed(format!("{name}: expected {expected}"))
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, ArtifactError> {
    fields.get(name).and_then(Value::as_str).ok_or_else(|| missing(name, "a string"))
}

fn read<T: serde::de::DeserializeOwned>(fields: &Map<String, Value>, name: &str) -> Result<T, ArtifactError> {
    let value = fields.get(name).ok_or_else(|| ArtifactError::Malformed(format!("{name} is missing")))?;
    T::deserialize(value).map_err(|error| ArtifactError::Malformed(format!("{name}: {error}")))
}
