use holdfast_passphrase::{Encryption, Passphrase};
use ring::{
    aead::{Aad, LessSafeKey, NONCE_LEN, Nonce},
    digest,
};

use crate::Error;

/// The key of one file. Its nonces are the parts' numbers, which never come twice in a file.
pub(crate) struct Seal {
    key: LessSafeKey,
    /// Of the manifest, so that no part opens under another one.
    manifest: Vec<u8>,
}

impl Seal {
    pub(crate) fn new(passphrase: &Passphrase, encryption: &Encryption, manifest: &[u8]) -> Result<Self, Error> {
        let manifest = digest::digest(&digest::SHA256, manifest).as_ref().to_vec();
        Ok(Self { key: passphrase.key(encryption)?, manifest })
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
