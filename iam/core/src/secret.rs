//! Comparing secrets.

use ring::{digest, hmac};

/// Whether two secrets are equal, in a time that says nothing about where they differ.
pub fn equal(presented: &[u8], expected: &[u8]) -> bool {
    // Comparing tags under a key that the caller does not choose hides the position of the first difference and the
    // length as well.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"holdfast secret comparison");
    hmac::verify(&key, presented, hmac::sign(&key, expected).as_ref()).is_ok()
}

/// SHA-256 as lower-case hex, for secrets that are random enough to be stored as a plain hash.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}
