//! Whose certificates count: the authorities that are trusted, and the certificates that are denied.

use serde::{Deserialize, Serialize};

use crate::{
    record::Record,
    rotation::{Item, Rotates, Set, State},
};

/// The certificate authorities of the plane, in one record. The active one issues; the pending ones and those in overlap
/// are only trusted, be it because they issue later, have issued before, or belong to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Authorities {
    pub roots: Set<Root>,
}

/// A self-signed authority; its id is the SHA-256 of its public key (SubjectPublicKeyInfo), hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Base64 DER.
    pub certificate: String,
    /// What issues in its place, where its own key lies offline.
    pub issuing: Option<Issuing>,
    /// Its certificates count for whom mapping rules say, and not for SPIFFE ids of the own trust domain.
    pub mapped_only: bool,
}

/// An authority of the plane's own below a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuing {
    /// SHA-256 of its public key (SubjectPublicKeyInfo), hex.
    pub id: String,
    /// Base64 DER.
    pub certificate: String,
}

/// Hex digits of a line of certificates: 64 bits, of which 62 are random.
const LINE: usize = 16;

/// A certificate that does not count, whoever issued it, nor any of the same [`line`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Hex.
    pub serial: String,
    pub reason: String,
    pub denied_ms: u64,
    pub denied_by: String,
}

impl Rotates for Root {
    const NOUN: &'static str = "certificate authority";
    const OVERLAP: &'static str = "overlap";
    const CAPACITY: usize = 8;
}

impl Item<Root> {
    /// The id of the key that signs what this authority issues.
    pub fn signer(&self) -> &str {
        self.value.issuing.as_ref().map_or(&self.id, |issuing| &issuing.id)
    }

    /// The certificate of that key, base64 DER.
    pub fn signer_certificate(&self) -> &str {
        self.value.issuing.as_ref().map_or(&self.value.certificate, |issuing| &issuing.certificate)
    }
}

impl Authorities {
    /// Those after `issuing` has taken the place of what issued below the root `id` so far.
    #[must_use]
    pub fn issuing_with(&self, id: &str, issuing: &Issuing) -> Self {
        let mut next = self.clone();
        for root in next.roots.items.iter_mut().filter(|root| root.id == id) {
            root.value.issuing = Some(issuing.clone());
            root.value.mapped_only = false;
        }
        next
    }

    /// Those whose certificates count.
    pub fn trusted(&self) -> impl Iterator<Item = &Item<Root>> {
        self.roots.items.iter().filter(|root| root.state.verifies())
    }
}

/// The word for a state of an authority.
pub fn word(state: State) -> &'static str {
    match state {
        State::Pending => "trusted",
        State::Active => "active",
        State::Overlap => "overlap",
        State::Retired => "removed",
        State::Compromised => "distrusted",
    }
}

/// A certificate's serial number as records have it: lower-case hex without leading zeros.
pub fn serial(text: &str) -> Option<String> {
    let digits = text.trim_start_matches('0');
    let known = !digits.is_empty() && digits.len() <= 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    known.then(|| digits.to_ascii_lowercase())
}

/// What the numbers of certificates have in common that were renewed from one another: half of the digits, if there are as
/// many as in those that the plane issues.
pub fn line(serial: &str) -> Option<&str> {
    serial.get(..LINE).filter(|_| serial.len() == 2 * LINE)
}

/// The record, as it is frozen. Readers of the first release know three words: `trusted` is the one that issues, and
/// those in `overlap` are trusted and do not issue. The phase tells more to those who know it.
#[derive(Serialize, Deserialize)]
struct Stored {
    authorities: Vec<StoredRoot>,
}

#[derive(Serialize, Deserialize)]
struct StoredRoot {
    id: String,
    certificate: String,
    /// Readers of the first release find no key under the root's id, and issue nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuing: Option<Issuing>,
    #[serde(default, skip_serializing_if = "is_false")]
    mapped_only: bool,
    state: StoredState,
    created_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    /// Absent for the first, which was active at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superseded_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired_ms: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredState {
    Trusted,
    Overlap,
    Removed,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Pending,
    Compromised,
}

impl From<Authorities> for Stored {
    fn from(authorities: Authorities) -> Self {
        let stored = |root: Item<Root>| {
            let (state, phase) = match root.state {
                State::Pending => (StoredState::Overlap, Some(Phase::Pending)),
                State::Active => (StoredState::Trusted, None),
                State::Overlap => (StoredState::Overlap, None),
                State::Retired => (StoredState::Removed, None),
                State::Compromised => (StoredState::Removed, Some(Phase::Compromised)),
            };
            let activated_ms = root.activated_ms.filter(|at| root.state != State::Active || *at != root.added_ms);
            StoredRoot {
                id: root.id,
                certificate: root.value.certificate,
                issuing: root.value.issuing,
                mapped_only: root.value.mapped_only,
                state,
                created_ms: root.added_ms,
                phase,
                activated_ms,
                superseded_ms: root.superseded_ms,
                retired_ms: root.retired_ms,
            }
        };
        Self { authorities: authorities.roots.items.into_iter().map(stored).collect() }
    }
}

impl From<Stored> for Authorities {
    fn from(stored: Stored) -> Self {
        let read = |root: StoredRoot| {
            let state = match (root.state, root.phase) {
                (StoredState::Trusted, _) => State::Active,
                (StoredState::Overlap, Some(Phase::Pending)) => State::Pending,
                (StoredState::Overlap, _) => State::Overlap,
                (StoredState::Removed, Some(Phase::Compromised)) => State::Compromised,
                (StoredState::Removed, _) => State::Retired,
            };
            let at_once = (state == State::Active).then_some(root.created_ms);
            Item {
                id: root.id,
                value: Root { certificate: root.certificate, issuing: root.issuing, mapped_only: root.mapped_only },
                state,
                added_ms: root.created_ms,
                activated_ms: root.activated_ms.or(at_once),
                superseded_ms: root.superseded_ms,
                retired_ms: root.retired_ms,
            }
        };
        Self { roots: Set { items: stored.authorities.into_iter().map(read).collect() } }
    }
}

impl Record for Authorities {}
impl Record for Denied {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::{Evidence, Step, Terms, Waive, Windows};

    #[test]
    fn every_state_survives_and_tells_older_readers_enough() {
        let root = |text: &str| Root { certificate: text.to_owned(), issuing: None, mapped_only: false };
        let windows = Windows::default();
        let evidence = Evidence::default();
        let terms = |now_ms| Terms { windows: &windows, evidence: &evidence, now_ms, waive: Waive::Nothing };
        let mut roots = Set::genesis("first".to_owned(), root("1"), 1);
        for (id, text) in [("second", "2"), ("foreign", "3"), ("stolen", "4"), ("gone", "5")] {
            roots = roots.add(id.to_owned(), root(text), 2).unwrap();
        }
        roots = roots.step("second", Step::Activate, &terms(3)).unwrap();
        roots = roots.step("stolen", Step::Compromise, &terms(4)).unwrap();
        roots = roots.step("gone", Step::Retire, &terms(5)).unwrap();
        let below = Issuing { id: "online".to_owned(), certificate: "6".to_owned() };
        let authorities = Authorities { roots }.issuing_with("second", &below);
        let active = authorities.roots.active().unwrap();
        assert_eq!((active.signer(), active.signer_certificate()), ("online", "6"));
        let stored = serde_json::to_value(&authorities).unwrap();
        let words: Vec<_> = stored["authorities"].as_array().unwrap().iter().map(|root| &root["state"]).collect();
        assert_eq!(words, ["overlap", "trusted", "overlap", "removed", "removed"]);
        assert_eq!(serde_json::from_value::<Authorities>(stored).unwrap(), authorities);
        let trusted: Vec<_> = authorities.trusted().map(|root| (root.id.as_str(), word(root.state))).collect();
        assert_eq!(trusted, [("first", "overlap"), ("second", "active"), ("foreign", "trusted")]);
    }
}
