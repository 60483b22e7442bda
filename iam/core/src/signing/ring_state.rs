use serde::{Deserialize, Serialize};

use super::{JwkSet, KeyError, PublicKey};
use crate::rotation::{Item, Rotates, Set, State, Step, StepError, Terms};

/// All signing keys of the plane, in one record: "exactly one is active" is one compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct KeyRing {
    /// Tokens of another epoch are void; a restore begins a new one.
    pub epoch: u64,
    pub keys: Set<PublicKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Step(#[from] StepError),
}

/// The record, as it is frozen.
#[derive(Serialize, Deserialize)]
struct Stored {
    epoch: u64,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    kid: String,
    public: PublicKey,
    state: StoredState,
    added_ms: u64,
    activated_ms: Option<u64>,
    superseded_ms: Option<u64>,
    retired_ms: Option<u64>,
    /// Readers that do not know the word see a retired key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    compromised: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredState {
    Pending,
    Active,
    VerifyOnly,
    Retired,
}

/// Enough for a rotation every week with a month of overlap, and small enough for one record.
impl Rotates for PublicKey {
    const NOUN: &'static str = "signing key";
    const OVERLAP: &'static str = "verify-only";
    const CAPACITY: usize = 16;
}

impl KeyRing {
    /// The ring of a new plane.
    pub fn genesis(public: PublicKey, now_ms: u64) -> Result<Self, KeyError> {
        Ok(Self { epoch: 1, keys: Set::genesis(public.kid()?, public, now_ms) })
    }

    pub fn active(&self) -> Option<&Item<PublicKey>> {
        self.keys.active()
    }

    pub fn key(&self, kid: &str) -> Option<&Item<PublicKey>> {
        self.keys.get(kid)
    }

    /// What `/jwks.json` shows.
    pub fn jwks(&self) -> Result<JwkSet, KeyError> {
        let shown = self.keys.items.iter().filter(|key| key.state.verifies());
        let keys = shown.map(|key| key.value.jwk(key.id.clone())).collect::<Result<_, _>>()?;
        Ok(JwkSet { keys })
    }

    /// The ring with a new pending key.
    pub fn add(&self, public: PublicKey, now_ms: u64) -> Result<Self, RingError> {
        let keys = self.keys.add(public.kid()?, public, now_ms)?;
        Ok(Self { keys, ..*self })
    }

    pub fn step(&self, kid: &str, step: Step, terms: &Terms<'_>) -> Result<Self, StepError> {
        Ok(Self { keys: self.keys.step(kid, step, terms)?, ..*self })
    }
}

impl From<KeyRing> for Stored {
    fn from(ring: KeyRing) -> Self {
        let keys = ring.keys.items.into_iter().map(|key| StoredKey {
            kid: key.id,
            public: key.value,
            state: match key.state {
                State::Pending => StoredState::Pending,
                State::Active => StoredState::Active,
                State::Overlap => StoredState::VerifyOnly,
                State::Retired | State::Compromised => StoredState::Retired,
            },
            added_ms: key.added_ms,
            activated_ms: key.activated_ms,
            superseded_ms: key.superseded_ms,
            retired_ms: key.retired_ms,
            compromised: key.state == State::Compromised,
        });
        Self { epoch: ring.epoch, keys: keys.collect() }
    }
}

impl From<Stored> for KeyRing {
    fn from(stored: Stored) -> Self {
        let items = stored.keys.into_iter().map(|key| Item {
            id: key.kid,
            value: key.public,
            state: match key.state {
                StoredState::Pending => State::Pending,
                StoredState::Active => State::Active,
                StoredState::VerifyOnly => State::Overlap,
                StoredState::Retired if key.compromised => State::Compromised,
                StoredState::Retired => State::Retired,
            },
            added_ms: key.added_ms,
            activated_ms: key.activated_ms,
            superseded_ms: key.superseded_ms,
            retired_ms: key.retired_ms,
        });
        Self { epoch: stored.epoch, keys: Set { items: items.collect() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rotation::{Evidence, Waive, Windows},
        signing::Algorithm,
    };

    const WINDOWS: Windows = Windows { cache_ms: 300, life_ms: 1000, stale_ms: 200, leeway_ms: 30, retirement_ms: 500 };

    fn public(seed: u8) -> PublicKey {
        PublicKey::new(Algorithm::EdDsa, &[seed; 32])
    }

    fn kid(seed: u8) -> String {
        public(seed).kid().unwrap()
    }

    fn step(ring: &KeyRing, seed: u8, step: Step, now_ms: u64) -> KeyRing {
        let evidence = Evidence::default();
        let terms = Terms { windows: &WINDOWS, evidence: &evidence, now_ms, waive: Waive::Nothing };
        ring.step(&kid(seed), step, &terms).unwrap()
    }

    #[test]
    fn the_published_keys_are_those_that_verify() {
        let published = |ring: &KeyRing| ring.jwks().unwrap().keys.into_iter().map(|key| key.kid).collect::<Vec<_>>();
        let ring = KeyRing::genesis(public(1), 0).unwrap().add(public(2), 1000).unwrap();
        assert_eq!(published(&ring), [kid(1), kid(2)], "before it signs");
        let ring = step(&ring, 2, Step::Activate, 1300);
        assert_eq!(published(&ring), [kid(1), kid(2)]);
        let ring = step(&ring, 1, Step::Retire, 2530);
        assert_eq!(published(&ring), [kid(2)]);
    }

    #[test]
    fn a_compromised_key_is_retired_for_who_does_not_know_the_word() {
        let ring = KeyRing::genesis(public(1), 0).unwrap().add(public(2), 0).unwrap();
        let ring = step(&step(&ring, 2, Step::Activate, 300), 1, Step::Compromise, 300);
        let stored = serde_json::to_value(&ring).unwrap();
        assert_eq!(stored["keys"][0]["state"], "retired");
        assert!(stored["keys"][1].get("compromised").is_none());
        assert_eq!(serde_json::from_value::<KeyRing>(stored).unwrap(), ring);
        assert_eq!(ring.keys.items[0].state, State::Compromised);
    }
}
