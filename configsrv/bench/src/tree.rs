//! Signed trees as an operator publishes them.

use anyhow::Result;
use configsrv_fleet::{Envelope, Payload, Sealed, SigningKey, Version};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::json;
use time::OffsetDateTime;

/// Who signs, and for whom.
pub(crate) struct Trees {
    key: SigningKey,
    cluster: String,
    nodes: Vec<String>,
}

impl Trees {
    pub(crate) fn new(cluster: &str, nodes: Vec<String>) -> Result<Self> {
        let id = format!("spiffe://{cluster}/management-plane/primary").parse()?;
        let pem = KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem();
        Ok(Self { key: SigningKey::from_pem(id, &pem)?, cluster: cluster.to_owned(), nodes })
    }

    /// The body of a publish after the version before. Every payload differs from its own of the version before, by who
    /// may reach the node's service.
    pub(crate) fn publish(&self, version: u64) -> Result<String> {
        let artifacts = self.nodes.iter().map(|node| self.artifact(node, version)).collect::<Result<Vec<_>>>()?;
        let texts = artifacts.iter().map(|artifact| std::str::from_utf8(artifact.bytes()));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        Ok(format!(r#"{{"base_version":{},"artifacts":[{}]}}"#, version - 1, texts.join(",")))
    }

    /// A service that four people may reach, and three that it reaches itself: about 2 KB.
    fn artifact(&self, node: &str, version: u64) -> Result<Sealed> {
        let id = |path: &str| format!("spiffe://{}/{path}", self.cluster);
        let stock = id(&format!("service/{node}/stock"));
        let people: Vec<String> = (0..4).map(|number| id(&format!("user/u{version}-{number}"))).collect();
        let dials = ["config-server", "ledger", "mail"].map(|service| {
            json!({
                "target_spiffe_id": id(&format!("service/{service}")),
                "target_node": "hub",
                "target_udp": "203.0.113.10:4500",
                "allow": [&stock],
            })
        });
        let payload: Payload = serde_json::from_value(json!({
            "schema_version": "1.0",
            "node": node,
            "labels": { "site": "quay" },
            "local_node": { "spiffe_id": id(&format!("node/{node}")), "socks5_proxy": "127.0.0.1:1070" },
            "local_users": [],
            "local_services": [{ "name": "stock", "spiffe_id": &stock, "upstream_addr": "127.0.0.1:7100" }],
            "ingress": [{ "target_spiffe_id": &stock, "allow": people }],
            "egress": dials,
            "files": [],
            "trust": { "authorized_mgmt_signers": [
                { "spiffe_id": self.key.id(), "pubkey": self.key.public_key()? },
            ] },
            "sync": {
                "via": "direct",
                "principal": id(&format!("node/{node}")),
                "config_server": id("service/config-server"),
                "urls": [],
            },
        }))?;
        Ok(Envelope::new(Version::new(version)?, OffsetDateTime::now_utc(), payload)?.seal(Some(&self.key))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_ten_thousand_nodes_fits_into_what_servers_take() {
        let trees = Trees::new("holdfast", (0..10).map(|number| format!("n{number}")).collect()).unwrap();
        let body = trees.publish(2).unwrap();
        assert!(body.len() * 1_000 < configsrv_fleet::artifact::MAX_TREE, "{}", body.len());
        assert!(body.starts_with(r#"{"base_version":1,"artifacts":[{"#));
        assert_ne!(trees.artifact("n1", 1).unwrap().payload(), trees.artifact("n1", 2).unwrap().payload());
    }
}
