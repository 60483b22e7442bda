//! Secrets at rest: AES-256-GCM under the master key, bound to what they are and whose.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Bytes of a master key.
pub const MASTER_KEY: usize = 32;
/// Bytes of entropy that sealing needs.
pub const NONCE: usize = 12;

/// The key that seals every secret of the plane. It is the same on all servers and never stored.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; MASTER_KEY]>);

/// What a sealed secret is and whose. A sealed value moved to another place does not open there.
#[derive(Clone, Copy, Debug)]
pub struct Label<'a> {
    /// `signing-key`, `authority`, `credential`.
    pub kind: &'a str,
    pub principal: &'a str,
    pub key: &'a str,
}

/// A sealed secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// [`MasterKey::id`] of the key that opens it.
    pub master: String,
    /// Hex.
    pub nonce: String,
    /// Base64, with GCM's tag at the end.
    pub ciphertext: String,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "MasterKey({})", self.id())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it is sealed under master key {found}; this server has {have}")]
    OtherMaster { found: String, have: String },
    #[error("the sealed value is damaged or belongs elsewhere")]
    Damaged,
}

impl MasterKey {
    pub fn new(bytes: [u8; MASTER_KEY]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Names the key without saying anything about it.
    pub fn id(&self) -> String {
        hex::encode(self.mac(b"holdfast master key: id", b"").as_ref().get(..8).unwrap_or_default())
    }

    /// Proves that two servers, or two starts of one, have the same key. Hex.
    pub fn check(&self) -> String {
        hex::encode(self.mac(b"holdfast master key: check", b"").as_ref())
    }

    /// A hash of a secret that can be verified and guessed only with this key. Hex.
    pub fn tag(&self, purpose: &str, secret: &[u8]) -> String {
        hex::encode(self.mac(purpose.as_bytes(), secret).as_ref())
    }

    /// Whether `secret` is the one behind `tag`; takes the same time for every wrong one.
    pub fn verify_tag(&self, purpose: &str, secret: &[u8], tag: &str) -> bool {
        hex::decode(tag).is_ok_and(|tag| hmac::verify(&self.purpose_key(purpose.as_bytes()), secret, &tag).is_ok())
    }

    pub fn seal(&self, label: Label<'_>, secret: &[u8], nonce: [u8; NONCE]) -> Result<Sealed, SealError> {
        let mut buffer = secret.to_vec();
        let key = self.cipher()?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(self.bound(label)), &mut buffer)
            .map_err(|_| SealError::Damaged)?;
        Ok(Sealed { master: self.id(), nonce: hex::encode(nonce), ciphertext: STANDARD.encode(buffer) })
    }

    pub fn open(&self, label: Label<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.master != self.id() {
            return Err(SealError::OtherMaster { found: sealed.master.clone(), have: self.id() });
        }
        let nonce = hex::decode(&sealed.nonce).map_err(|_| SealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| SealError::Damaged)?;
        let ciphertext = STANDARD.decode(&sealed.ciphertext).map_err(|_| SealError::Damaged)?;
        let mut buffer = Zeroizing::new(ciphertext);
        let aad = Aad::from(self.bound(label));
        let length = self.cipher()?.open_in_place(nonce, aad, &mut buffer).map_err(|_| SealError::Damaged)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        UnboundKey::new(&AES_256_GCM, self.0.as_slice()).map(LessSafeKey::new).map_err(|_| SealError::Damaged)
    }

    /// The associated data: every part with its length, so that no two labels read the same.
    fn bound(&self, label: Label<'_>) -> Vec<u8> {
        let mut bound = b"holdfast sealed 1".to_vec();
        for part in [label.kind, label.principal, label.key, &self.id()] {
            bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bound.extend_from_slice(part.as_bytes());
        }
        bound
    }

    fn purpose_key(&self, purpose: &[u8]) -> hmac::Key {
        let master = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, purpose).as_ref())
    }

    fn mac(&self, purpose: &[u8], message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.purpose_key(purpose), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: Label<'_> = Label { kind: "credential", principal: "user/mira", key: "HFAK1" };

    #[test]
    fn only_the_same_label_and_key_open() {
        let master = MasterKey::new([7; MASTER_KEY]);
        let sealed = master.seal(LABEL, b"secret", [1; NONCE]).unwrap();
        assert_eq!(master.open(LABEL, &sealed).unwrap().as_slice(), b"secret");
        for label in [
            Label { kind: "signing-key", ..LABEL },
            Label { principal: "user/mir", key: "aHFAK1", ..LABEL },
            Label { key: "HFAK2", ..LABEL },
        ] {
            assert_eq!(master.open(label, &sealed), Err(SealError::Damaged), "{label:?}");
        }
        let other = MasterKey::new([8; MASTER_KEY]);
        assert!(matches!(other.open(LABEL, &sealed), Err(SealError::OtherMaster { .. })));
        let renamed = Sealed { master: other.id(), ..sealed.clone() };
        assert_eq!(other.open(LABEL, &renamed), Err(SealError::Damaged));
    }

    #[test]
    fn damage_is_found() {
        let master = MasterKey::new([7; MASTER_KEY]);
        let sealed = master.seal(LABEL, b"secret", [1; NONCE]).unwrap();
        for damaged in [
            Sealed { nonce: hex::encode([2; NONCE]), ..sealed.clone() },
            Sealed { nonce: "zz".into(), ..sealed.clone() },
            Sealed { nonce: String::new(), ..sealed.clone() },
            Sealed { ciphertext: String::new(), ..sealed.clone() },
            Sealed { ciphertext: STANDARD.encode([0; 40]), ..sealed },
        ] {
            assert_eq!(master.open(LABEL, &damaged), Err(SealError::Damaged));
        }
    }

    #[test]
    fn tags_are_bound_to_purpose_and_key() {
        let master = MasterKey::new([7; MASTER_KEY]);
        let tag = master.tag("admin", b"token");
        assert!(master.verify_tag("admin", b"token", &tag));
        assert!(!master.verify_tag("admin", b"tokem", &tag));
        assert!(!master.verify_tag("other", b"token", &tag));
        assert!(!MasterKey::new([8; MASTER_KEY]).verify_tag("admin", b"token", &tag));
    }

    #[test]
    fn the_first_release_is_frozen() {
        let master = MasterKey::new([7; MASTER_KEY]);
        assert_eq!(master.id(), "bb136d0c84cb5f2b");
        assert_eq!(master.check(), "d90bad3f68d08d0fb555e5d7509387750e42bbf90e2bcb1c61aebc9ebc8fbe14");
        assert_eq!(master.tag("admin", b"token"), "98974c7ab3e69b8c38ac61e5133ef7aa8ec830c565eb8fa331d120eb1c09b832");
    }
}
