use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::names::{ClusterName, NodeName, ServiceName, SignerName, UserName};

/// A SPIFFE ID of the fleet: `spiffe://<cluster>/<kind>/<name>`. Ordered by its bytes; cheap to clone, because allow
/// lists repeat the same ids.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId(Arc<Parts>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    // First: it decides the order.
    text: String,
    cluster: ClusterName,
    subject: Subject,
}

/// Whom an id names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    User(UserName),
    /// `/service/<s>`, or `/service/<node>/<s>` for a service whose scope is its node.
    Service {
        node: Option<NodeName>,
        service: ServiceName,
    },
    Node(NodeName),
    /// `/management-plane/<k>`: a key that signs artifacts, never a TLS peer.
    Signer(SignerName),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a SPIFFE ID of a fleet: {reason}")]
pub struct SpiffeError {
    text: String,
    reason: String,
}

impl SpiffeId {
    pub fn new(cluster: &ClusterName, subject: Subject) -> Self {
        let text = format!("spiffe://{cluster}/{subject}");
        Self(Arc::new(Parts { text, cluster: cluster.clone(), subject }))
    }

    pub fn user(cluster: &ClusterName, user: &UserName) -> Self {
        Self::new(cluster, Subject::User(user.clone()))
    }

    pub fn node(cluster: &ClusterName, node: &NodeName) -> Self {
        Self::new(cluster, Subject::Node(node.clone()))
    }

    pub fn signer(cluster: &ClusterName, signer: &SignerName) -> Self {
        Self::new(cluster, Subject::Signer(signer.clone()))
    }

    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The trust domain.
    pub fn cluster(&self) -> &ClusterName {
        &self.0.cluster
    }

    pub fn subject(&self) -> &Subject {
        &self.0.subject
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(out, "user/{name}"),
            Self::Service { node: None, service } => write!(out, "service/{service}"),
            Self::Service { node: Some(node), service } => write!(out, "service/{node}/{service}"),
            Self::Node(name) => write!(out, "node/{name}"),
            Self::Signer(name) => write!(out, "management-plane/{name}"),
        }
    }
}

impl FromStr for Subject {
    type Err = SpiffeError;

    /// Reads `kind/name`, as in the path of an id.
    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let name = |error: crate::names::NameError| SpiffeError { text: text.to_owned(), reason: error.to_string() };
        match text.split('/').collect::<Vec<_>>().as_slice() {
            ["user", user] => Ok(Self::User(user.parse().map_err(name)?)),
            ["node", node] => Ok(Self::Node(node.parse().map_err(name)?)),
            ["service", service] => Ok(Self::Service { node: None, service: service.parse().map_err(name)? }),
            ["service", node, service] => {
                Ok(Self::Service { node: Some(node.parse().map_err(name)?), service: service.parse().map_err(name)? })
            }
            ["management-plane", signer] => Ok(Self::Signer(signer.parse().map_err(name)?)),
            _ => Err(SpiffeError {
                text: text.to_owned(),
                reason: "expected user/NAME, node/NAME, service/NAME, service/NODE/NAME or management-plane/NAME"
                    .to_owned(),
            }),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let failed = |reason: String| SpiffeError { text: text.chars().take(300).collect(), reason };
        let rest = text.strip_prefix("spiffe://").ok_or_else(|| failed("it does not begin with spiffe://".into()))?;
        let (domain, path) = rest.split_once('/').ok_or_else(|| failed("it has no path".into()))?;
        let cluster: ClusterName =
            domain.parse().map_err(|error: crate::names::NameError| failed(format!("trust domain: {error}")))?;
        let subject: Subject = path.parse().map_err(|error: SpiffeError| failed(error.reason))?;
        Ok(Self::new(&cluster, subject))
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = SpiffeError;

    fn try_from(text: String) -> Result<Self, SpiffeError> {
        text.parse()
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> Self {
        id.0.text.clone()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.0.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip() {
        for text in [
            "spiffe://quay.test/user/mira",
            "spiffe://quay.test/service/stock",
            "spiffe://quay.test/service/pier2/shell",
            "spiffe://quay.test/node/pier2",
            "spiffe://quay.test/management-plane/primary",
        ] {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "https://quay.test/user/mira",
            "spiffe://quay.test",
            "spiffe:///user/mira",
            "spiffe://quay.test/users/mira",
            "spiffe://quay.test/user/mira/x",
            "spiffe://quay.test/user/Mira",
            "spiffe://quay.test/user/",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
