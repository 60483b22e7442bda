//! What an operator carries to a node so that it can take part: whom to trust, whom to ask, and the certificates of
//! everybody who is on it. With keys inside it is a secret in itself; without, it answers [`Requests`] of the node.

mod requests;
mod secret;

use std::collections::BTreeSet;

use iam_ca::PrivateKey;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::OffsetDateTime;

pub use requests::{Request, Requests};
pub use secret::Secret;

use crate::{
    artifact::{SchemaVersion, Signer},
    names::{ClusterName, NodeName},
    pki::Certificate,
    repo::{Repo, Scope},
    spiffe::{SpiffeId, Subject},
};

/// The newest bundle that this release reads, and the only one that it writes.
const SCHEMA: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
/// More than any bundle has.
const LARGEST: usize = 4 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    pub schema_version: SchemaVersion,
    pub cluster: ClusterName,
    pub node: NodeName,
    /// The cluster's root, PEM: the one authority of the data plane.
    pub authority: String,
    /// Whose artifacts count from the first one on.
    pub signers: Vec<Signer>,
    pub servers: Servers,
    pub identities: Vec<Identity>,
    /// With it the node also enrols at the servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token: Option<Secret>,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Servers {
    /// HTTP addresses, tried in this order.
    pub urls: Vec<String>,
    /// API addresses, where certificates are renewed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api: Vec<String>,
    /// Authorities of the servers' TLS certificates, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// Somebody on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub spiffe_id: SpiffeId,
    /// PEM.
    pub certificate: String,
    /// PKCS #8 PEM; absent if the key was made on the node and stayed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("this is not a bundle: {0}")]
    Malformed(String),
    #[error("the bundle has schema {0}, this release reads up to {SCHEMA}: upgrade it")]
    Schema(SchemaVersion),
    #[error("the bundle is not believed: {0}")]
    Untrusted(String),
}

impl Bundle {
    /// A bundle with nobody in it yet.
    pub fn new(
        cluster: ClusterName,
        node: NodeName,
        authority: String,
        signers: Vec<Signer>,
        servers: Servers,
    ) -> Self {
        let (identities, join_token) = (Vec::new(), None);
        Self { schema_version: SCHEMA, cluster, node, authority, signers, servers, identities, join_token }
    }

    /// Reads a bundle, and checks that it is of one piece: everybody in it is certified now by its authority, belongs to
    /// its node, and has the key that comes along.
    pub fn read(bytes: &[u8], now: OffsetDateTime) -> Result<Self, BundleError> {
        check_schema(bytes)?;
        let bundle: Self = parse(bytes)?;
        let authority = bundle.root()?;
        let mut seen = BTreeSet::new();
        for identity in &bundle.identities {
            let id = &identity.spiffe_id;
            let untrusted = |why: &str| BundleError::Untrusted(format!("{id}: {why}"));
            if !seen.insert(id) {
                return Err(untrusted("is in it twice"));
            }
            if id.cluster() != &bundle.cluster || !may_be_on(id.subject(), &bundle.node) {
                return Err(untrusted("does not belong on this node"));
            }
            identity.check(&authority, now).map_err(|why| untrusted(&why))?;
        }
        Ok(bundle)
    }

    /// The cluster's root.
    pub fn root(&self) -> Result<Certificate, BundleError> {
        let untrusted = |why: &str| BundleError::Untrusted(format!("its authority {why}"));
        let root = Certificate::from_pem(self.authority.as_bytes()).map_err(|_| untrusted("is no certificate"))?;
        if !root.is_ca || !root.is_signed_by(&root) {
            return Err(untrusted("is no root"));
        }
        if root.uri.as_deref() != Some(format!("spiffe://{}", self.cluster).as_str()) {
            return Err(untrusted("is that of another cluster"));
        }
        Ok(root)
    }

    /// With line breaks, for people who look at it.
    pub fn write(&self) -> Result<Secret, BundleError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| BundleError::Malformed(error.to_string()))?;
        Ok(Secret::new(zeroize::Zeroizing::new(text)))
    }
}

impl Identity {
    pub fn certificate(&self) -> Result<Certificate, String> {
        Certificate::from_pem(self.certificate.as_bytes()).map_err(|error| error.to_string())
    }

    fn check(&self, authority: &Certificate, now: OffsetDateTime) -> Result<(), String> {
        let certificate = self.certificate()?;
        if certificate.spiffe_id().as_ref() != Some(&self.spiffe_id) {
            return Err("its certificate names somebody else".into());
        }
        if certificate.is_ca || !certificate.is_signed_by(authority) {
            return Err("its certificate is not of the bundle's authority".into());
        }
        if now < certificate.not_before || now >= certificate.not_after {
            return Err(format!("its certificate counts from {} to {}", certificate.not_before, certificate.not_after));
        }
        match &self.key {
            Some(key) if !belongs(key.expose(), &certificate) => Err("its key is not the certified one".into()),
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether a private key (PKCS #8 PEM) is the one that `certificate` certifies.
pub fn belongs(key_pem: &str, certificate: &Certificate) -> bool {
    let Some(certified) = certificate.public_key else { return false };
    PrivateKey::from_pem(key_pem).is_ok_and(|key| key.public_key_info().ends_with(certified.as_bytes()))
}

/// Everybody who is on a node, as the repository says: the node, its users, its services.
pub fn principals(repo: &Repo, node: &NodeName) -> Vec<Subject> {
    let here = |place: &str| place == node.as_str();
    let mut all = Vec::new();
    if repo.node(node.as_str()).is_some() {
        all.push(Subject::Node(node.clone()));
    }
    for user in &repo.users {
        if let Ok(name) = user.name.value.parse()
            && user.spec.nodes.iter().any(|device| here(&device.node.value))
        {
            all.push(Subject::User(name));
        }
    }
    for service in &repo.services {
        if let Ok(name) = service.name.value.parse()
            && service.spec.at.iter().any(|host| here(&host.value))
        {
            let node = (service.spec.scope == Scope::Node).then(|| node.clone());
            all.push(Subject::Service { node, service: name });
        }
    }
    all
}

fn may_be_on(subject: &Subject, node: &NodeName) -> bool {
    match subject {
        Subject::Node(name) => name == node,
        Subject::Service { node: Some(host), .. } => host == node,
        Subject::User(_) | Subject::Service { node: None, .. } => true,
        Subject::Signer(_) => false,
    }
}

/// Before anything else is looked at: a newer release may mean something else by the same words.
fn check_schema(bytes: &[u8]) -> Result<(), BundleError> {
    #[derive(Deserialize)]
    struct Head {
        schema_version: SchemaVersion,
    }
    if bytes.len() > LARGEST {
        return Err(BundleError::Malformed(format!("it is longer than {LARGEST} bytes")));
    }
    let Head { schema_version } = parse(bytes)?;
    schema_version.check("bundle", SCHEMA).map_err(|_| BundleError::Schema(schema_version))
}

/// Without the place of what is wrong: that is never a value, which may be secret.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BundleError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let what = if error.is_data() { "a field is missing, unknown or of another kind" } else { "not JSON" };
        BundleError::Malformed(format!("{what}, line {} column {}", error.line(), error.column()))
    })
}
