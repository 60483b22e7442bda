//! A cluster with one signer and an authority that knows two roles; what the tests of server and agent share.

#![allow(dead_code, reason = "every test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use chainfire_client::memory::MemoryStore;
use chainfire_core::AuthenticatedBy;
use configsrv_fleet::{Envelope, Payload, Sealed, SigningKey, Version};
use configsrv_server::{ConfigService, Settings};
use iam_client::{Authority, Identity, Kind, Presented, PrincipalId, Refusal};
use serde_json::{Value, json};
use time::OffsetDateTime;

pub(crate) const OPERATOR: &str = "operator-token";

/// Knows `operator-token`, and `node:NAME` for every node; operators may do everything, nodes what is theirs.
pub(crate) struct Rules;

#[async_trait]
impl Authority for Rules {
    async fn authenticate(&self, presented: Presented) -> Result<Identity, Refusal> {
        if let Some((user, _)) = &presented.basic {
            return Ok(Identity { authenticated_by: AuthenticatedBy::Credential, ..node(user) });
        }
        match presented.bearer.as_deref() {
            None => Err(Refusal::Anonymous),
            Some(OPERATOR) => Ok(operator()),
            Some(token) => token.strip_prefix("node:").map(node).ok_or(Refusal::Unauthenticated),
        }
    }

    fn authorize(&self, identity: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        let own = resource == identity.principal.to_string();
        let allowed = match identity.principal.kind {
            Kind::User => true,
            Kind::Node => match action {
                "config.ReadArtifact" | "config.ReportStatus" => own,
                "lock.Use" => true,
                _ => false,
            },
            Kind::Service | Kind::Bootstrap | Kind::Anonymous => false,
        };
        let denied = || Refusal::Denied { action: action.to_owned(), resource: resource.to_owned() };
        if allowed { Ok(()) } else { Err(denied()) }
    }
}

pub(crate) fn operator() -> Identity {
    identity(Kind::User, "mira")
}

pub(crate) fn node(name: &str) -> Identity {
    identity(Kind::Node, name)
}

fn identity(kind: Kind, name: &str) -> Identity {
    Identity {
        principal: PrincipalId { kind, name: name.to_owned() },
        authenticated_by: AuthenticatedBy::Token,
        token_id: None,
        roles: Vec::new(),
        source: None,
        request_id: "r1".to_owned(),
    }
}

/// A server without anything published.
pub(crate) fn service(settings: Settings) -> (ConfigService, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new().unwrap());
    (ConfigService::new(Arc::clone(&store) as _, Arc::new(Rules), settings), store)
}

/// Somebody whose signature counts.
pub(crate) struct Signer {
    pub(crate) name: &'static str,
    key: SigningKey,
}

impl Signer {
    pub(crate) fn new(name: &'static str) -> Self {
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let id = format!("spiffe://quay.test/management-plane/{name}").parse().unwrap();
        Self { name, key: SigningKey::from_pem(id, &pem).unwrap() }
    }

    fn announced(&self) -> Value {
        json!({ "spiffe_id": self.key.id(), "pubkey": self.key.public_key().unwrap() })
    }
}

/// A tree under construction.
pub(crate) struct Tree<'a> {
    pub(crate) version: u64,
    pub(crate) signer: &'a Signer,
    /// Whom the tree names as signers from now on.
    pub(crate) announces: Vec<&'a Signer>,
    pub(crate) nodes: Vec<(&'a str, Value)>,
}

impl<'a> Tree<'a> {
    /// One node without files.
    pub(crate) fn new(version: u64, signer: &'a Signer) -> Self {
        Self { version, signer, announces: vec![signer], nodes: vec![("pier2", json!([]))] }
    }

    pub(crate) fn nodes(mut self, nodes: Vec<(&'a str, Value)>) -> Self {
        self.nodes = nodes;
        self
    }

    /// The artifact of each node.
    pub(crate) fn artifacts(&self) -> Vec<Sealed> {
        self.nodes.iter().map(|(node, files)| self.artifact(node, files)).collect()
    }

    fn artifact(&self, node: &str, files: &Value) -> Sealed {
        let announced: Vec<Value> = self.announces.iter().map(|signer| signer.announced()).collect();
        let payload = json!({
            "schema_version": "1.0",
            "node": node,
            "labels": {},
            "local_node": { "spiffe_id": format!("spiffe://quay.test/node/{node}"), "socks5_proxy": "127.0.0.1:1080" },
            "local_users": [],
            "local_services": [],
            "ingress": [],
            "egress": [],
            "files": files,
            "trust": { "authorized_mgmt_signers": announced },
            "sync": {
                "via": "direct",
                "principal": format!("spiffe://quay.test/node/{node}"),
                "config_server": "spiffe://quay.test/service/config-server",
                "urls": [],
            },
        });
        let payload: Payload = serde_json::from_value(payload).unwrap();
        let envelope = Envelope::new(Version::new(self.version).unwrap(), OffsetDateTime::UNIX_EPOCH, payload).unwrap();
        envelope.seal(Some(&self.signer.key)).unwrap()
    }

    /// The body of a publish.
    pub(crate) fn body(&self, base_version: u64) -> String {
        body(base_version, self.artifacts().iter().map(Sealed::bytes))
    }
}

/// A publish of any bytes.
pub(crate) fn body<'b>(base_version: u64, artifacts: impl IntoIterator<Item = &'b [u8]>) -> String {
    let artifacts: Vec<&str> = artifacts.into_iter().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect();
    format!(r#"{{"base_version":{base_version},"artifacts":[{}],"note":"test"}}"#, artifacts.join(","))
}

/// A file of a payload.
pub(crate) fn file(path: &str, text: &str) -> Value {
    json!({ "path": path, "mode": "0644", "content": { "text": text } })
}
