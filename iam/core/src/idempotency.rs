//! Keys that callers give their changes, so that one whose answer was lost can be sent again.

use serde::{Deserialize, Serialize};

use crate::{record::Record, secret};

/// How long the key of a change is remembered.
pub const KEPT_MS: u64 = 24 * 3_600_000;
const MAX_KEY: usize = 128;

/// What a caller calls a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Up to 128 printable characters of ASCII, without blanks.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let printable = text.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(text).ok().filter(|text| printable && (1..=MAX_KEY).contains(&text.len()))?;
        Some(Self(text.to_owned()))
    }

    /// What stands for it in the name of its record: keys of different callers have nothing to do with each other.
    pub fn id(&self, caller: &str) -> String {
        secret::sha256_hex(format!("{caller}\n{}", self.0).as_bytes())
    }
}

/// A change that was made under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The SHA-256 of the method and the message.
    pub request: String,
    /// As the history has the change.
    pub action: String,
    pub resource: String,
    /// After this another change may have the key.
    pub until_ms: u64,
    /// The answer's message in hex; absent where it may hold a secret, is too long, or was not stored in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// What a request is whose key was used before.
#[derive(Debug, PartialEq, Eq)]
pub enum Again<'a> {
    /// It comes so late that it counts as a new one.
    Expired,
    /// The same request.
    Same(&'a Done),
    /// Another one.
    Other,
}

impl Done {
    pub fn again(&self, request: &str, now_ms: u64) -> Again<'_> {
        match () {
            () if now_ms > self.until_ms => Again::Expired,
            () if self.request == request => Again::Same(self),
            () => Again::Other,
        }
    }
}

impl Record for Done {}

/// What stands for a request: whoever sends the same bytes to the same method asks for the same.
pub fn fingerprint(method: &str, message: &[u8]) -> String {
    secret::sha256_hex(&[method.as_bytes(), b"\n", message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_short_and_printable() {
        let longest = [b'k'; MAX_KEY];
        for good in [b"k".as_slice(), b"018f-7a:retry/1", &longest] {
            assert!(IdempotencyKey::parse(good).is_some(), "{good:?}");
        }
        for bad in [b"".as_slice(), b"two words", b"\n", "schlüssel".as_bytes(), &[b'k'; MAX_KEY + 1]] {
            assert_eq!(IdempotencyKey::parse(bad), None, "{bad:?}");
        }
        let key = IdempotencyKey::parse(b"k").unwrap();
        assert_ne!(key.id("user/mira"), key.id("user/noor"));
    }

    #[test]
    fn a_key_means_one_request_for_a_day() {
        let request = fingerprint("/iam.v1.Credentials/Create", b"mira");
        let done = Done {
            request: request.clone(),
            action: "iam.CredentialCreate".into(),
            resource: "access-key/HFAK".into(),
            until_ms: 1_000 + KEPT_MS,
            answer: None,
        };
        let others = [("/iam.v1.Credentials/Create", "noor"), ("/iam.v1.Credentials/Revoke", "mira")];
        for now_ms in [0, 1_000, 1_000 + KEPT_MS] {
            assert_eq!(done.again(&request, now_ms), Again::Same(&done));
            for (method, message) in others {
                assert_eq!(done.again(&fingerprint(method, message.as_bytes()), now_ms), Again::Other);
            }
        }
        assert_eq!(done.again(&request, 1_001 + KEPT_MS), Again::Expired);
    }
}
