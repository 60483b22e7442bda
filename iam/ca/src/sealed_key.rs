//! Private keys as they lie in an operator's files: plain, or sealed with a password.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_passphrase::{Encryption, Passphrase};
use ring::aead::{Aad, NONCE_LEN, Nonce};
use serde::{Deserialize, Serialize};
use x509_parser::pem::parse_x509_pem;
use zeroize::Zeroizing;

use crate::{AuthorityError, PrivateKey, pem::pem};

const LABEL: &str = "HOLDFAST ENCRYPTED PRIVATE KEY";

/// What is in the PEM block, as JSON.
#[derive(Serialize, Deserialize)]
struct SealedKey {
    encryption: Encryption,
    /// The sealed PKCS #8, base64.
    key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    #[error("the key is encrypted: it needs its password")]
    Encrypted,
    #[error("the key is not encrypted: a password would prove nothing")]
    NotEncrypted,
    #[error("the password is wrong, or the key is damaged")]
    WrongPassword,
    #[error("this is no private key")]
    Malformed,
    #[error(transparent)]
    Passphrase(#[from] holdfast_passphrase::Error),
    #[error(transparent)]
    Key(#[from] AuthorityError),
}

impl PrivateKey {
    /// A PEM that only `password` opens.
    pub fn sealed_pem(&self, password: &Passphrase) -> Result<String, KeyFileError> {
        let encryption = Encryption::new()?;
        let mut key = self.der();
        let sealer = password.key(&encryption)?;
        let sealed = sealer.seal_in_place_append_tag(only_nonce(), Aad::empty(), &mut *key);
        sealed.map_err(|_| KeyFileError::Malformed)?;
        let sealed = SealedKey { encryption, key: STANDARD.encode(&*key) };
        Ok(pem(LABEL, &serde_json::to_vec(&sealed).map_err(|_| KeyFileError::Malformed)?))
    }

    /// From a PEM of either kind: a sealed one needs its password, another one must have none.
    pub fn from_file(text: &str, password: Option<&Passphrase>) -> Result<Self, KeyFileError> {
        match (text.contains(LABEL), password) {
            (false, None) => Ok(Self::from_pem(text)?),
            (false, Some(_)) => Err(KeyFileError::NotEncrypted),
            (true, None) => Err(KeyFileError::Encrypted),
            (true, Some(password)) => Self::unseal(text, password),
        }
    }

    fn unseal(text: &str, password: &Passphrase) -> Result<Self, KeyFileError> {
        let (_, block) = parse_x509_pem(text.as_bytes()).map_err(|_| KeyFileError::Malformed)?;
        let sealed: SealedKey = serde_json::from_slice(&block.contents).map_err(|_| KeyFileError::Malformed)?;
        let mut key = Zeroizing::new(STANDARD.decode(&sealed.key).map_err(|_| KeyFileError::Malformed)?);
        let opener = password.key(&sealed.encryption)?;
        let key =
            opener.open_in_place(only_nonce(), Aad::empty(), &mut key).map_err(|_| KeyFileError::WrongPassword)?;
        Ok(Self::from_der(key)?)
    }
}

/// The key is derived for this file alone, and seals once.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use super::*;
    use crate::KeyAlgorithm;

    #[test]
    fn only_its_password_opens_a_sealed_key() {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let (right, wrong) = (Passphrase::new(b"correct horse").unwrap(), Passphrase::new(b"another horse").unwrap());
        let sealed = key.sealed_pem(&right).unwrap();
        assert!(!sealed.contains("BEGIN PRIVATE KEY") && PrivateKey::from_pem(&sealed).is_err());
        let opened = PrivateKey::from_file(&sealed, Some(&right)).unwrap();
        assert_eq!(*opened.der(), *key.der());
        let refused = |text: &str, password: Option<&Passphrase>| PrivateKey::from_file(text, password).err().unwrap();
        assert_eq!(refused(&sealed, Some(&wrong)), KeyFileError::WrongPassword);
        assert_eq!(refused(&sealed, None), KeyFileError::Encrypted);
        assert_eq!(refused(&sealed[..200], Some(&right)), KeyFileError::Malformed);
        let plain = key.pem();
        assert_eq!(*PrivateKey::from_file(&plain, None).unwrap().der(), *key.der());
        assert_eq!(refused(&plain, Some(&right)), KeyFileError::NotEncrypted);
        assert!(matches!(refused("nothing", None), KeyFileError::Key(_)));
    }
}
