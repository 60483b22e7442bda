use std::num::NonZeroU32;

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest,
    pbkdf2::{self, PBKDF2_HMAC_SHA256},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{Encryption, Error};

const METHOD: &str = "pbkdf2-hmac-sha256+aes-256-gcm";
const SALT: usize = 32;
/// What OWASP asks for this function.
const ITERATIONS: u32 = 600_000;
/// A manifest must not keep a reader busy for minutes.
const MOST_ITERATIONS: u32 = 10_000_000;
const SHORTEST: usize = 12;

/// What a backup is encrypted with. Whoever has it and the file has everything.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Line ends of the file that it comes from are not part of it.
    pub fn new(text: &[u8]) -> Result<Self, Error> {
        let text = text.trim_ascii_end();
        if text.len() < SHORTEST {
            return Err(Error::ShortPassphrase(SHORTEST));
        }
        Ok(Self(Zeroizing::new(text.to_vec())))
    }
}

/// The key of one file. Its nonces are the parts' numbers, which never come twice in a file.
pub(crate) struct Seal {
    key: LessSafeKey,
    /// Of the manifest, so that no part opens under another one.
    manifest: Vec<u8>,
}

/// Random parameters for a new file.
pub(crate) fn parameters() -> Result<Encryption, Error> {
    let mut salt = [0; SALT];
    SystemRandom::new().fill(&mut salt).map_err(|_| Error::NoRandomness)?;
    Ok(Encryption { method: METHOD.to_owned(), salt: hex::encode(salt), iterations: ITERATIONS })
}

impl Seal {
    pub(crate) fn new(passphrase: &Passphrase, parameters: &Encryption, manifest: &[u8]) -> Result<Self, Error> {
        let unknown = || Error::UnknownEncryption(parameters.method.clone());
        if parameters.method != METHOD || parameters.iterations > MOST_ITERATIONS {
            return Err(unknown());
        }
        let iterations = NonZeroU32::new(parameters.iterations).ok_or_else(unknown)?;
        let salt = hex::decode(&parameters.salt).map_err(|_| unknown())?;
        let mut bytes = Zeroizing::new([0; 32]);
        pbkdf2::derive(PBKDF2_HMAC_SHA256, iterations, &salt, &passphrase.0, bytes.as_mut_slice());
        let key = UnboundKey::new(&AES_256_GCM, bytes.as_slice()).map_err(|_| unknown())?;
        let manifest = digest::digest(&digest::SHA256, manifest).as_ref().to_vec();
        Ok(Self { key: LessSafeKey::new(key), manifest })
    }

    pub(crate) fn seal(&self, number: u64, mut body: Vec<u8>) -> Option<Vec<u8>> {
        let aad = Aad::from(&self.manifest);
        self.key.seal_in_place_append_tag(nonce(number), aad, &mut body).ok()?;
        Some(body)
    }

    /// None if the key is another one, or anything was changed.
    pub(crate) fn open(&self, number: u64, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let aad = Aad::from(&self.manifest);
        let length = self.key.open_in_place(nonce(number), aad, &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}
