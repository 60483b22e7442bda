//! A signed tree with one node, as `florctl` would publish it.

use anyhow::Result;
use configsrv_fleet::{Envelope, Payload, SigningKey, Version};
use serde_json::json;
use time::OffsetDateTime;

/// The body of a first publish: version 1, node `pier2` without files, signed by a key of its own.
pub(crate) fn first() -> Result<String> {
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?.serialize_pem();
    let key = SigningKey::from_pem("spiffe://quay.test/management-plane/primary".parse()?, &pem)?;
    let payload: Payload = serde_json::from_value(json!({
        "schema_version": "1.0",
        "node": "pier2",
        "labels": {},
        "local_node": { "spiffe_id": "spiffe://quay.test/node/pier2", "socks5_proxy": "127.0.0.1:1080" },
        "local_users": [],
        "local_services": [],
        "ingress": [],
        "egress": [],
        "files": [],
        "trust": { "authorized_mgmt_signers": [{ "spiffe_id": key.id(), "pubkey": key.public_key()? }] },
        "sync": {
            "via": "direct",
            "principal": "spiffe://quay.test/node/pier2",
            "config_server": "spiffe://quay.test/service/config-server",
            "urls": [],
        },
    }))?;
    let sealed = Envelope::new(Version::new(1)?, OffsetDateTime::now_utc(), payload)?.seal(Some(&key))?;
    let artifact = String::from_utf8(sealed.bytes().to_vec())?;
    Ok(format!(r#"{{"base_version":0,"artifacts":[{artifact}],"note":"first"}}"#))
}
