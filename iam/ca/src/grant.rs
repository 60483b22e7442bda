//! Grants for emergencies: operators sign one together with keys that lie offline, and a server that knows these keys lets
//! its holder in by itself, whatever else does not work.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::SigningKey as _;
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ED25519, UnparsedPublicKey},
};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use x509_parser::{prelude::FromDer as _, x509::SubjectPublicKeyInfo};

use crate::{AuthorityError, KeyAlgorithm, PrivateKey, certificate_id};

/// The longest life of a grant.
pub const MAX_GRANT_MS: u64 = 4 * 3_600_000;
/// What a grant's text begins with, and no other token's.
pub const GRANT_PREFIX: &str = "hfbg.";
/// Clocks differ.
const LEEWAY_MS: u64 = 30_000;
/// What is signed begins with this, so that no signature is good for anything else.
const CONTEXT: &[u8] = b"holdfast break-glass grant 1\0";

/// What operators grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Random; names the grant in every record about it.
    pub id: String,
    pub trust_domain: String,
    /// Only at this server; absent for all.
    pub server: Option<String>,
    pub roles: Vec<String>,
    pub reason: String,
    pub not_before_ms: u64,
    pub not_after_ms: u64,
}

/// A grant and who has signed it. Its text is `hfbg.<grant>.<signatures>`, both JSON in base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedGrant {
    payload: Vec<u8>,
    /// By the key's id.
    signatures: BTreeMap<String, String>,
}

/// The public half of an operator's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorKey {
    /// SHA-256 of the SubjectPublicKeyInfo, hex.
    pub id: String,
    key: Vec<u8>,
}

/// Whose signatures a server asks for, and what it is.
#[derive(Clone, Copy, Debug)]
pub struct GrantRules<'a> {
    pub keys: &'a [OperatorKey],
    /// So many of them.
    pub threshold: usize,
    pub trust_domain: &'a str,
    pub server: &'a str,
}

/// The precise reason for the log; callers never see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantFault {
    #[error("the grant is malformed")]
    Malformed,
    #[error("the grant lasts longer than {} hours", MAX_GRANT_MS / 3_600_000)]
    TooLong,
    #[error("the grant has ended, or has not begun")]
    Time,
    #[error("the grant is for another plane or another server")]
    Elsewhere,
    #[error("{good} of {threshold} signatures that it takes are good")]
    Signatures { good: usize, threshold: usize },
}

impl Grant {
    /// An id that no other grant has.
    pub fn new_id() -> Result<String, AuthorityError> {
        let mut id = [0; 8];
        SystemRandom::new().fill(&mut id).map_err(|_| AuthorityError::Making("no random bytes".into()))?;
        Ok(hex::encode(id))
    }
}

impl SignedGrant {
    /// Signed by nobody yet.
    pub fn new(grant: &Grant) -> Result<Self, GrantFault> {
        let payload = serde_json::to_vec(grant).map_err(|_| GrantFault::Malformed)?;
        Ok(Self { payload, signatures: BTreeMap::new() })
    }

    pub fn parse(text: &str) -> Result<Self, GrantFault> {
        let rest = text.trim().strip_prefix(GRANT_PREFIX).ok_or(GrantFault::Malformed)?;
        let (payload, signatures) = rest.split_once('.').ok_or(GrantFault::Malformed)?;
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| GrantFault::Malformed);
        let signatures = serde_json::from_slice(&bytes(signatures)?).map_err(|_| GrantFault::Malformed)?;
        Ok(Self { payload: bytes(payload)?, signatures })
    }

    pub fn text(&self) -> String {
        let signatures = serde_json::json!(self.signatures).to_string();
        format!("{GRANT_PREFIX}{}.{}", URL_SAFE_NO_PAD.encode(&self.payload), URL_SAFE_NO_PAD.encode(signatures))
    }

    /// What it says, whoever signed it.
    pub fn unverified(&self) -> Result<Grant, GrantFault> {
        serde_json::from_slice(&self.payload).map_err(|_| GrantFault::Malformed)
    }

    /// The ids of the keys that are said to have signed it.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.keys().map(String::as_str)
    }

    /// Adds an operator's signature.
    pub fn sign(&mut self, key: &PrivateKey) -> Result<(), AuthorityError> {
        let public = key.public_key_info();
        OperatorKey::from_der(&public)?;
        let signature = key.0.sign(&self.signed()).map_err(AuthorityError::making)?;
        self.signatures.insert(certificate_id(&public), URL_SAFE_NO_PAD.encode(signature));
        Ok(())
    }

    /// The grant, if it is good at this server at `now_ms`.
    pub fn verify(&self, rules: GrantRules<'_>, now_ms: u64) -> Result<Grant, GrantFault> {
        let GrantRules { keys, threshold, trust_domain, server } = rules;
        let signed = self.signed();
        let good = keys.iter().filter(|key| {
            let signature = self.signatures.get(&key.id).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            let public = UnparsedPublicKey::new(&ED25519, &key.key);
            signature.is_some_and(|signature| public.verify(&signed, &signature).is_ok())
        });
        let good = good.count();
        if threshold == 0 || good < threshold {
            return Err(GrantFault::Signatures { good, threshold });
        }
        let grant = self.unverified()?;
        if grant.trust_domain != trust_domain || grant.server.as_ref().is_some_and(|only| only != server) {
            return Err(GrantFault::Elsewhere);
        }
        if grant.not_after_ms.saturating_sub(grant.not_before_ms) > MAX_GRANT_MS {
            return Err(GrantFault::TooLong);
        }
        if now_ms.saturating_add(LEEWAY_MS) < grant.not_before_ms || now_ms >= grant.not_after_ms {
            return Err(GrantFault::Time);
        }
        Ok(grant)
    }

    fn signed(&self) -> Vec<u8> {
        [CONTEXT, &self.payload].concat()
    }
}

impl OperatorKey {
    /// From a SubjectPublicKeyInfo PEM (`PUBLIC KEY`) of an Ed25519 key.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(AuthorityError::unusable)?;
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> Result<Self, AuthorityError> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(AuthorityError::unusable)?;
        if KeyAlgorithm::of(&info) != Some(KeyAlgorithm::Ed25519) {
            return Err(AuthorityError::unusable("it is no Ed25519 key"));
        }
        Ok(Self { id: certificate_id(der), key: info.subject_public_key.data.to_vec() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn grant() -> Grant {
        Grant {
            id: "0011".into(),
            trust_domain: "harbour.example".into(),
            server: None,
            roles: vec!["admin".into()],
            reason: "the quorum is lost".into(),
            not_before_ms: NOW,
            not_after_ms: NOW + MAX_GRANT_MS,
        }
    }

    fn operators(count: usize) -> (Vec<PrivateKey>, Vec<OperatorKey>) {
        let keys: Vec<_> = (0..count).map(|_| PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap()).collect();
        let public = keys.iter().map(|key| OperatorKey::from_pem(&key.public_pem()).unwrap());
        let public = public.collect();
        (keys, public)
    }

    fn judge(signed: &SignedGrant, keys: &[OperatorKey], now_ms: u64) -> Result<Grant, GrantFault> {
        let rules = GrantRules { keys, threshold: 2, trust_domain: "harbour.example", server: "s1" };
        SignedGrant::parse(&signed.text()).unwrap().verify(rules, now_ms)
    }

    fn signed(grant: &Grant, keys: &[PrivateKey]) -> SignedGrant {
        let mut signed = SignedGrant::new(grant).unwrap();
        keys.iter().for_each(|key| signed.sign(key).unwrap());
        signed
    }

    #[test]
    fn as_many_operators_as_it_takes_sign_it() {
        let (keys, public) = operators(3);
        assert_eq!(judge(&signed(&grant(), &keys[1..]), &public, NOW), Ok(grant()));
        let one = signed(&grant(), &keys[..1]);
        assert_eq!(judge(&one, &public, NOW), Err(GrantFault::Signatures { good: 1, threshold: 2 }));
        let (strangers, _) = operators(2);
        assert_eq!(
            judge(&signed(&grant(), &strangers), &public, NOW),
            Err(GrantFault::Signatures { good: 0, threshold: 2 })
        );
        // One operator does not count twice, also not under another's name.
        let mut twice = one.clone();
        let own = twice.signatures.values().next().unwrap().clone();
        twice.signatures.insert(public[1].id.clone(), own);
        assert_eq!(judge(&twice, &public, NOW), Err(GrantFault::Signatures { good: 1, threshold: 2 }));
        // Signatures are for what was signed.
        let mut altered = signed(&grant(), &keys);
        altered.payload = serde_json::to_vec(&Grant { reason: "another".into(), ..grant() }).unwrap();
        assert!(matches!(judge(&altered, &public, NOW), Err(GrantFault::Signatures { good: 0, .. })));
    }

    #[test]
    fn it_is_for_a_place_and_a_time() {
        let (keys, public) = operators(2);
        let judged = |grant: Grant, now_ms| judge(&signed(&grant, &keys), &public, now_ms);
        assert!(judged(Grant { server: Some("s1".into()), ..grant() }, NOW).is_ok());
        assert_eq!(judged(Grant { server: Some("s2".into()), ..grant() }, NOW), Err(GrantFault::Elsewhere));
        assert_eq!(judged(Grant { trust_domain: "x".into(), ..grant() }, NOW), Err(GrantFault::Elsewhere));
        assert_eq!(judged(Grant { not_after_ms: NOW + MAX_GRANT_MS + 1, ..grant() }, NOW), Err(GrantFault::TooLong));
        assert_eq!(judged(grant(), NOW + MAX_GRANT_MS), Err(GrantFault::Time));
        assert!(judged(grant(), NOW - LEEWAY_MS).is_ok());
        assert_eq!(judged(grant(), NOW - LEEWAY_MS - 1), Err(GrantFault::Time));
    }

    #[test]
    fn garbage_is_malformed() {
        for text in ["", "hfbg.", "hfbg..", "hfbg.e30", "hfbg.!.e30", "hfbg.e30.e30.e30", "eyJ.e30.e30"] {
            assert_eq!(SignedGrant::parse(text), Err(GrantFault::Malformed), "{text}");
        }
        let empty = SignedGrant::parse("hfbg.e30.e30").unwrap();
        assert_eq!(empty.unverified(), Err(GrantFault::Malformed));
        assert!(OperatorKey::from_pem("nothing").is_err());
        let other = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        assert!(OperatorKey::from_pem(&other.public_pem()).is_err());
        assert!(SignedGrant::new(&grant()).unwrap().sign(&other).is_err());
    }
}
