use serde::{Deserialize, Serialize};

use crate::{names::NodeName, spiffe::Subject};

use super::{BundleError, check_schema, parse};
use crate::artifact::SchemaVersion;

/// What a node asks certificates for, with keys that stay on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    pub schema_version: SchemaVersion,
    pub node: NodeName,
    pub requests: Vec<Request>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `user/mira`, `service/stock`.
    pub subject: String,
    /// PKCS #10, PEM. Only its key counts.
    pub csr: String,
}

impl Requests {
    pub fn new(node: NodeName, requests: Vec<Request>) -> Self {
        Self { schema_version: super::SCHEMA, node, requests }
    }

    /// Whoever made them, nothing in them is believed: they name subjects, and carry keys.
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        check_schema(bytes)?;
        parse(bytes)
    }
}

impl Request {
    pub fn subject(&self) -> Result<Subject, BundleError> {
        self.subject.parse().map_err(|error: crate::spiffe::SpiffeError| BundleError::Malformed(error.to_string()))
    }
}
