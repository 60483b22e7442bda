//! Signed trees, as `florctl` would publish them.

#![allow(dead_code, reason = "every test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use configsrv_fleet::{Digest, Envelope, Payload, Sealed, SigningKey, Span, Version, to_canonical};
use serde_json::{Value, json};
use time::OffsetDateTime;

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

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs what is no artifact of this release, or none at all; digest and signature fit.
    pub(crate) fn seal(&self, mut artifact: Value) -> Vec<u8> {
        artifact["payload_digest"] = json!(Digest::of(&to_canonical(&artifact["payload"]).unwrap()));
        artifact.as_object_mut().unwrap().remove("signature");
        artifact["signature"] = json!(self.key.sign(&to_canonical(&artifact).unwrap()));
        to_canonical(&artifact).unwrap()
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
    /// Fields that take the place of the usual ones in every payload.
    patch: Value,
    fresh_for: Option<Span>,
}

impl<'a> Tree<'a> {
    /// One node without files.
    pub(crate) fn new(version: u64, signer: &'a Signer) -> Self {
        Self {
            version,
            signer,
            announces: vec![signer],
            nodes: vec![("pier2", json!([]))],
            patch: json!({}),
            fresh_for: None,
        }
    }

    pub(crate) fn patched(mut self, patch: Value) -> Self {
        self.patch = patch;
        self
    }

    /// How long the artifacts are fresh after their making, at the beginning of Unix time.
    pub(crate) fn fresh_for(mut self, span: Span) -> Self {
        self.fresh_for = Some(span);
        self
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
        let mut payload = json!({
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
        for (field, value) in self.patch.as_object().into_iter().flatten() {
            payload[field] = value.clone();
        }
        let payload: Payload = serde_json::from_value(payload).unwrap();
        let envelope = Envelope::new(Version::new(self.version).unwrap(), OffsetDateTime::UNIX_EPOCH, payload).unwrap();
        envelope.fresh_for(self.fresh_for).seal(Some(&self.signer.key)).unwrap()
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
