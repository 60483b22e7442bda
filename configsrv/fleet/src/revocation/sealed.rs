use crate::{
    artifact::{SchemaVersion, Signer, SigningKey, to_canonical},
    digest::Digest,
    names::ClusterName,
};

use super::{RevocationError, Revocations};

/// The largest envelope, in bytes.
pub const MAX_REVOCATIONS: usize = 256 * 1024;
/// The most ids of an envelope, revoked and settled together.
pub const MAX_IDS: usize = 2000;

/// The newest schema that this release reads.
const SCHEMA: SchemaVersion = SchemaVersion::V1_0;

/// An envelope as it travels: its exact bytes (RFC 8785), and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRevocations {
    bytes: Vec<u8>,
    revocations: Revocations,
}

impl Revocations {
    /// The bytes that travel, signed by `key`. A signature that is already there is replaced.
    pub fn seal(mut self, key: &SigningKey) -> Result<SealedRevocations, RevocationError> {
        self.signature = None;
        self.signature = Some(key.sign(&spell(&self)?));
        SealedRevocations::parse(&spell(&self)?)
    }
}

impl SealedRevocations {
    /// Reads strictly: size, schema, every field, one spelling, and everything that can be judged without knowing more.
    /// The signature is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, RevocationError> {
        #[derive(serde::Deserialize)]
        struct Stamped {
            schema_version: SchemaVersion,
        }
        if bytes.len() > MAX_REVOCATIONS {
            return Err(RevocationError::TooLarge { size: bytes.len(), limit: MAX_REVOCATIONS });
        }
        let malformed = |error: serde_json::Error| RevocationError::Malformed(error.to_string());
        let Stamped { schema_version: found } = serde_json::from_slice(bytes).map_err(malformed)?;
        if found.major != SCHEMA.major || found.minor > SCHEMA.minor {
            return Err(RevocationError::Schema { found, supported: SCHEMA });
        }
        let revocations: Revocations = serde_json::from_slice(bytes).map_err(malformed)?;
        // Also catches ids that are repeated or out of order, which the sets put right.
        if spell(&revocations)? != bytes {
            return Err(RevocationError::NotCanonical);
        }
        let count = revocations.revoked.len() + revocations.settled.len();
        if count > MAX_IDS {
            return Err(RevocationError::TooMany { count, limit: MAX_IDS });
        }
        revocations.check()?;
        Ok(Self { bytes: bytes.to_vec(), revocations })
    }

    /// That it is for `cluster` and signed by one of `signers`, whose it returns.
    pub fn verify<'a>(&self, cluster: &ClusterName, signers: &'a [Signer]) -> Result<&'a Signer, RevocationError> {
        let found = &self.revocations.cluster;
        if found != cluster {
            return Err(RevocationError::OtherCluster { expected: cluster.clone(), found: found.clone() });
        }
        let signature = self.revocations.signature.as_ref().ok_or(RevocationError::Unsigned)?;
        let id = &signature.key_id;
        let signer = signers.iter().find(|signer| signer.spiffe_id == *id);
        let signer = signer.ok_or_else(|| RevocationError::UnknownSigner(id.clone()))?;
        let unsigned = Revocations { signature: None, ..self.revocations.clone() };
        if signer.pubkey.verify(&spell(&unsigned)?, signature) {
            Ok(signer)
        } else {
            Err(RevocationError::BadSignature(id.clone()))
        }
    }

    /// The RFC 8785 form, without a trailing newline.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }
}

fn spell(revocations: &Revocations) -> Result<Vec<u8>, RevocationError> {
    to_canonical(revocations).map_err(|error| RevocationError::Malformed(error.to_string()))
}
