//! Keys that are derived from a passphrase: what an operator carries away from the servers, a backup or the key of an
//! authority, is sealed with one.

use std::num::NonZeroU32;

use ring::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    pbkdf2::{self, PBKDF2_HMAC_SHA256},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const METHOD: &str = "pbkdf2-hmac-sha256+aes-256-gcm";
const SALT: usize = 32;
/// What OWASP asks for this function.
const ITERATIONS: u32 = 600_000;
/// A file must not keep its reader busy for minutes.
const MOST_ITERATIONS: u32 = 10_000_000;
const SHORTEST: usize = 12;

/// What a file is sealed with. Whoever has it and the file has everything.
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// How the key of one sealed file is derived; readable by everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    pub method: String,
    /// Hexadecimal.
    pub salt: String,
    pub iterations: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a passphrase has at least {SHORTEST} bytes")]
    Short,
    #[error("the file is encrypted in a way that this release does not know: {0}")]
    Unknown(String),
    #[error("the operating system has no randomness")]
    NoRandomness,
}

impl Passphrase {
    /// Line ends of the file that it comes from are not part of it.
    pub fn new(text: &[u8]) -> Result<Self, Error> {
        let text = text.trim_ascii_end();
        if text.len() < SHORTEST {
            return Err(Error::Short);
        }
        Ok(Self(Zeroizing::new(text.to_vec())))
    }

    /// The key of the file that `encryption` is about. Its salt is that of no other file, so nonces need to differ
    /// within the file only.
    pub fn key(&self, encryption: &Encryption) -> Result<LessSafeKey, Error> {
        let unknown = || Error::Unknown(encryption.method.clone());
        if encryption.method != METHOD || encryption.iterations > MOST_ITERATIONS {
            return Err(unknown());
        }
        let iterations = NonZeroU32::new(encryption.iterations).ok_or_else(unknown)?;
        let salt = hex::decode(&encryption.salt).map_err(|_| unknown())?;
        let mut bytes = Zeroizing::new([0; 32]);
        pbkdf2::derive(PBKDF2_HMAC_SHA256, iterations, &salt, &self.0, bytes.as_mut_slice());
        let key = UnboundKey::new(&AES_256_GCM, bytes.as_slice()).map_err(|_| unknown())?;
        Ok(LessSafeKey::new(key))
    }
}

impl Encryption {
    /// Of a new file.
    pub fn new() -> Result<Self, Error> {
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).map_err(|_| Error::NoRandomness)?;
        Ok(Self { method: METHOD.to_owned(), salt: hex::encode(salt), iterations: ITERATIONS })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use super::*;

    #[test]
    fn line_ends_do_not_count_and_short_ones_are_refused() {
        assert_eq!(*Passphrase::new(b"correct horse\r\n").unwrap().0, b"correct horse");
        assert_eq!(Passphrase::new(b"short      \n").err(), Some(Error::Short));
    }

    #[test]
    fn only_what_is_known_is_derived() {
        let (passphrase, good) = (Passphrase::new(b"correct horse").unwrap(), Encryption::new().unwrap());
        assert_ne!(good.salt, Encryption::new().unwrap().salt);
        passphrase.key(&Encryption { iterations: 1, ..good.clone() }).unwrap();
        for bad in [
            Encryption { method: "rot13".to_owned(), ..good.clone() },
            Encryption { salt: "x".to_owned(), ..good.clone() },
            Encryption { iterations: 0, ..good.clone() },
            Encryption { iterations: u32::MAX, ..good.clone() },
        ] {
            assert!(matches!(passphrase.key(&bad), Err(Error::Unknown(_))), "{bad:?}");
        }
    }
}
