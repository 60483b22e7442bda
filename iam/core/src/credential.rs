//! Access keys: an id that may be shown, a secret that is sealed, and the rule that lets them overlap.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How many live access keys a principal may have: two for the overlap, and room for several clients.
pub const MAX_LIVE: usize = 8;
/// How many revoked ones are remembered.
const MAX_REVOKED: usize = 16;
/// Bytes of entropy that a new access key needs.
pub const ENTROPY: usize = 16 + 32;
/// Crockford's base 32: no letters that look like digits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// `HFAK` and sixteen letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccessKeyId(String);

/// All access keys of one principal: one record, so that rules about the set are one compare-and-set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialSet {
    pub credentials: Vec<Credential>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub id: AccessKeyId,
    pub created_ms: u64,
    pub revoked_ms: Option<u64>,
    pub note: String,
    /// `lin` of the bearer token that made it for its own principal: it is revoked with that token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("{MAX_LIVE} access keys are live; revoke one first")]
    TooMany,
    #[error("there is no access key {0:?}")]
    NotFound(String),
    #[error("{0} is the only live access key; create its successor first, or use force")]
    LastLive(String),
}

impl AccessKeyId {
    /// Only what can be an id is looked up.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("HFAK")?;
        (rest.len() == 16 && rest.bytes().all(|byte| ALPHABET.contains(&byte))).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An id and a secret from fresh entropy.
pub fn mint(entropy: &Zeroizing<[u8; ENTROPY]>) -> (AccessKeyId, Zeroizing<String>) {
    let (id, secret) = entropy.split_at(16);
    let letters = id.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32)));
    let id = letters.fold("HFAK".to_owned(), |mut text, letter| {
        text.push(char::from(*letter));
        text
    });
    (AccessKeyId(id), Zeroizing::new(URL_SAFE_NO_PAD.encode(secret)))
}

impl CredentialSet {
    pub fn live(&self) -> impl Iterator<Item = &Credential> {
        self.credentials.iter().filter(|credential| credential.revoked_ms.is_none())
    }

    pub fn is_live(&self, id: &AccessKeyId) -> bool {
        self.live().any(|credential| credential.id == *id)
    }

    pub fn lineage(&self, id: &AccessKeyId) -> Option<&String> {
        self.credentials.iter().find(|credential| credential.id == *id)?.lineage.as_ref()
    }

    pub fn create(
        &self,
        id: AccessKeyId,
        note: String,
        lineage: Option<String>,
        now_ms: u64,
    ) -> Result<Self, CredentialError> {
        if self.live().count() >= MAX_LIVE {
            return Err(CredentialError::TooMany);
        }
        let mut next = self.clone();
        next.credentials.push(Credential { id, created_ms: now_ms, revoked_ms: None, note, lineage });
        Ok(next)
    }

    /// Repeating a revocation changes nothing.
    pub fn revoke(&self, id: &AccessKeyId, force: bool, now_ms: u64) -> Result<Self, CredentialError> {
        let mut next = self.clone();
        let others = next.live().filter(|credential| credential.id != *id).count();
        let found = next.credentials.iter_mut().find(|credential| credential.id == *id);
        let credential = found.ok_or_else(|| CredentialError::NotFound(id.as_str().to_owned()))?;
        if credential.revoked_ms.is_some() {
            return Ok(next);
        }
        if others == 0 && !force {
            return Err(CredentialError::LastLive(id.as_str().to_owned()));
        }
        credential.revoked_ms = Some(now_ms);
        next.forget();
        Ok(next)
    }

    /// Revokes the live ones that were made by a bearer token whose lineage is `doomed`, the last one too; says which.
    pub fn revoke_made_by(&self, doomed: impl Fn(&str) -> bool, now_ms: u64) -> (Self, Vec<AccessKeyId>) {
        let mut next = self.clone();
        let mut revoked = Vec::new();
        for credential in next.credentials.iter_mut().filter(|credential| credential.revoked_ms.is_none()) {
            if credential.lineage.as_deref().is_some_and(&doomed) {
                credential.revoked_ms = Some(now_ms);
                revoked.push(credential.id.clone());
            }
        }
        next.forget();
        (next, revoked)
    }

    /// Keeps the record bounded: the oldest revoked ones go.
    fn forget(&mut self) {
        let revoked = self.credentials.iter().filter(|credential| credential.revoked_ms.is_some()).count();
        let mut excess = revoked.saturating_sub(MAX_REVOKED);
        self.credentials.retain(|credential| {
            let goes = excess > 0 && credential.revoked_ms.is_some();
            excess -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seed: u8) -> AccessKeyId {
        mint(&Zeroizing::new([seed; ENTROPY])).0
    }

    #[test]
    fn ids_are_recognised() {
        let (id, secret) = mint(&Zeroizing::new(std::array::from_fn(|index| index as u8)));
        assert_eq!(id.as_str(), "HFAK0123456789ABCDEF");
        assert_eq!(secret.len(), 43);
        assert_eq!(AccessKeyId::parse(id.as_str()), Some(id));
        assert_eq!(AccessKeyId::parse("HFAK0123456789ABCDE"), None);
        assert_eq!(AccessKeyId::parse("HFAK0123456789ABCD/F"), None);
    }

    #[test]
    fn a_successor_comes_before_the_revocation() {
        let set = CredentialSet::default().create(id(1), String::new(), None, 10).unwrap();
        assert!(matches!(set.revoke(&id(1), false, 20), Err(CredentialError::LastLive(_))));
        let both = set.create(id(2), String::new(), None, 20).unwrap();
        let one = both.revoke(&id(1), false, 30).unwrap();
        assert!(!one.is_live(&id(1)) && one.is_live(&id(2)));
        assert_eq!(one.revoke(&id(1), false, 40).unwrap(), one);
        assert_eq!(one.revoke(&id(2), true, 40).unwrap().live().count(), 0);
        assert!(matches!(one.revoke(&id(3), true, 40), Err(CredentialError::NotFound(_))));
    }

    #[test]
    fn what_a_token_made_goes_with_it() {
        let by = |lin: &str| Some(lin.to_owned());
        let set = CredentialSet::default().create(id(1), String::new(), None, 10).unwrap();
        let set = set.create(id(2), String::new(), by("a"), 10).unwrap();
        let set = set.create(id(3), String::new(), by("b"), 10).unwrap();
        let (left, gone) = set.revoke_made_by(|lin| lin == "a", 20);
        assert_eq!((left.is_live(&id(1)), left.is_live(&id(3)), gone), (true, true, vec![id(2)]));
        assert_eq!(left.revoke_made_by(|_| true, 30).1, [id(3)]);
    }

    #[test]
    fn the_record_stays_small() {
        let mut set = CredentialSet::default();
        for seed in 0..32 {
            set = set.create(id(seed), String::new(), None, 0).unwrap().revoke(&id(seed), true, 0).unwrap();
        }
        assert_eq!(set.credentials.len(), MAX_REVOKED);
        for seed in 0..8 {
            set = set.create(id(seed), String::new(), None, 0).unwrap();
        }
        assert_eq!(set.create(id(9), String::new(), None, 0), Err(CredentialError::TooMany));
    }
}
