use std::fmt;

use serde::{Deserialize, Serialize};

use super::{JwkSet, KeyError, PublicKey};

/// Enough for a rotation every week with a month of overlap, and small enough for one record.
const MAX_KEYS: usize = 16;

/// All signing keys of the plane, in one record: "exactly one is active" is one compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRing {
    /// Tokens of another epoch are void; a restore begins a new one.
    pub epoch: u64,
    pub keys: Vec<RingKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingKey {
    pub kid: String,
    pub public: PublicKey,
    pub state: KeyState,
    pub added_ms: u64,
    pub activated_ms: Option<u64>,
    /// When another key became active in its place.
    pub superseded_ms: Option<u64>,
    pub retired_ms: Option<u64>,
}

/// Where a key is on its way. A purged key is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Published, not signing.
    Pending,
    /// Signs; exactly one.
    Active,
    /// The overlap: signs no more, verifies still.
    VerifyOnly,
    /// Does not verify.
    Retired,
}

/// How long things may take; all in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long verifiers may keep the published keys.
    pub jwks_cache_ms: u64,
    /// The longest life of a token.
    pub max_ttl_ms: u64,
    /// How long a server that is cut off may go on signing.
    pub stale_limit_ms: u64,
    pub leeway_ms: u64,
    /// How long a retired key is kept before it may be purged.
    pub retirement_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Activate,
    Retire,
    Purge,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    #[error("there is no signing key {0:?}")]
    NotFound(String),
    #[error("this key is in the ring already, as {0}")]
    Duplicate(String),
    #[error("the ring holds {MAX_KEYS} keys; purge retired ones first")]
    Full,
    #[error("{kid} is {state}; to {step} it, {missing}")]
    WrongState { kid: String, state: KeyState, step: Step, missing: &'static str },
    /// The step is the right one and its time has not come.
    #[error("{kid} is {state}; to {step} it becomes possible in {} s", .in_ms.div_ceil(1000))]
    TooEarly { kid: String, state: KeyState, step: Step, in_ms: u64 },
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl KeyState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::VerifyOnly => "verify-only",
            Self::Retired => "retired",
        }
    }

    /// Published, and what it signed is valid.
    pub fn verifies(self) -> bool {
        match self {
            Self::Pending | Self::Active | Self::VerifyOnly => true,
            Self::Retired => false,
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Activate => "activate",
            Self::Retire => "retire",
            Self::Purge => "purge",
        })
    }
}

impl KeyRing {
    /// The ring of a new plane: its first key signs at once, because nobody has cached anything.
    pub fn genesis(public: PublicKey, now_ms: u64) -> Result<Self, KeyError> {
        let key = RingKey {
            kid: public.kid()?,
            public,
            state: KeyState::Active,
            added_ms: now_ms,
            activated_ms: Some(now_ms),
            superseded_ms: None,
            retired_ms: None,
        };
        Ok(Self { epoch: 1, keys: vec![key] })
    }

    pub fn active(&self) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }

    pub fn key(&self, kid: &str) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    /// What `/jwks.json` shows.
    pub fn jwks(&self) -> Result<JwkSet, KeyError> {
        let shown = self.keys.iter().filter(|key| key.state.verifies());
        let keys = shown.map(|key| key.public.jwk(key.kid.clone())).collect::<Result<_, _>>()?;
        Ok(JwkSet { keys })
    }

    /// The ring with a new pending key.
    pub fn add(&self, public: PublicKey, now_ms: u64) -> Result<Self, StepError> {
        let kid = public.kid()?;
        if self.key(&kid).is_some() {
            return Err(StepError::Duplicate(kid));
        }
        if self.keys.len() >= MAX_KEYS {
            return Err(StepError::Full);
        }
        let mut next = self.clone();
        next.keys.push(RingKey {
            kid,
            public,
            state: KeyState::Pending,
            added_ms: now_ms,
            activated_ms: None,
            superseded_ms: None,
            retired_ms: None,
        });
        Ok(next)
    }

    /// The ring in which `kid` signs and the key that signed before verifies only. A key in its overlap may come back
    /// at once, since every verifier has it. `now` skips the wait for the verifiers' caches.
    pub fn activate(&self, kid: &str, now: bool, timing: &Timing, now_ms: u64) -> Result<Self, StepError> {
        let key = self.find(kid)?;
        match key.state {
            KeyState::Active => return Ok(self.clone()),
            KeyState::VerifyOnly => {}
            KeyState::Pending if now => {}
            KeyState::Pending => key.wait(Step::Activate, timing, now_ms)?,
            KeyState::Retired => return Err(key.wrong(Step::Activate, "add a new key; a retired one stays retired")),
        }
        let mut next = self.clone();
        for key in &mut next.keys {
            if key.kid == kid {
                key.state = KeyState::Active;
                key.activated_ms = Some(now_ms);
                key.superseded_ms = None;
            } else if key.state == KeyState::Active {
                key.state = KeyState::VerifyOnly;
                key.superseded_ms = Some(now_ms);
            }
        }
        Ok(next)
    }

    /// The ring in which `kid` verifies nothing. Refused until every token that it can have signed is expired.
    pub fn retire(&self, kid: &str, timing: &Timing, now_ms: u64) -> Result<Self, StepError> {
        let key = self.find(kid)?;
        match key.state {
            KeyState::Retired => return Ok(self.clone()),
            // It never signed.
            KeyState::Pending => {}
            KeyState::VerifyOnly => key.wait(Step::Retire, timing, now_ms)?,
            KeyState::Active => return Err(key.wrong(Step::Retire, "activate another key first")),
        }
        let mut next = self.clone();
        for key in next.keys.iter_mut().filter(|key| key.kid == kid) {
            key.state = KeyState::Retired;
            key.retired_ms = Some(now_ms);
        }
        Ok(next)
    }

    /// The ring without `kid`.
    pub fn purge(&self, kid: &str, timing: &Timing, now_ms: u64) -> Result<Self, StepError> {
        let key = self.find(kid)?;
        match key.state {
            KeyState::Retired => key.wait(Step::Purge, timing, now_ms)?,
            KeyState::Pending | KeyState::Active | KeyState::VerifyOnly => {
                return Err(key.wrong(Step::Purge, "retire it first"));
            }
        }
        let mut next = self.clone();
        next.keys.retain(|key| key.kid != kid);
        Ok(next)
    }

    fn find(&self, kid: &str) -> Result<&RingKey, StepError> {
        self.key(kid).ok_or_else(|| StepError::NotFound(kid.to_owned()))
    }
}

impl RingKey {
    /// When this key's next step becomes possible without force; none for the active key.
    pub fn next_step_ms(&self, timing: &Timing) -> Option<u64> {
        match self.state {
            KeyState::Pending => Some(self.added_ms.saturating_add(timing.jwks_cache_ms)),
            KeyState::Active => None,
            KeyState::VerifyOnly => {
                let tail = timing.stale_limit_ms.saturating_add(timing.max_ttl_ms).saturating_add(timing.leeway_ms);
                self.superseded_ms.map(|at| at.saturating_add(tail))
            }
            KeyState::Retired => self.retired_ms.map(|at| at.saturating_add(timing.retirement_ms)),
        }
    }

    fn wait(&self, step: Step, timing: &Timing, now_ms: u64) -> Result<(), StepError> {
        match self.next_step_ms(timing) {
            Some(possible_ms) if now_ms < possible_ms => {
                Err(StepError::TooEarly { kid: self.kid.clone(), state: self.state, step, in_ms: possible_ms - now_ms })
            }
            _ => Ok(()),
        }
    }

    fn wrong(&self, step: Step, missing: &'static str) -> StepError {
        StepError::WrongState { kid: self.kid.clone(), state: self.state, step, missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::Algorithm;

    const TIMING: Timing =
        Timing { jwks_cache_ms: 300, max_ttl_ms: 1000, stale_limit_ms: 200, leeway_ms: 30, retirement_ms: 500 };

    fn public(seed: u8) -> PublicKey {
        PublicKey::new(Algorithm::EdDsa, &[seed; 32])
    }

    fn kid(seed: u8) -> String {
        public(seed).kid().unwrap()
    }

    fn states(ring: &KeyRing) -> Vec<KeyState> {
        ring.keys.iter().map(|key| key.state).collect()
    }

    #[test]
    fn a_rotation_overlaps() {
        let ring = KeyRing::genesis(public(1), 0).unwrap();
        let ring = ring.add(public(2), 1000).unwrap();
        assert_eq!(ring.jwks().unwrap().keys.len(), 2, "published before it signs");
        let early = ring.activate(&kid(2), false, &TIMING, 1299).unwrap_err();
        assert!(matches!(early, StepError::TooEarly { in_ms: 1, .. }), "{early}");
        let ring = ring.activate(&kid(2), false, &TIMING, 1300).unwrap();
        assert_eq!(states(&ring), [KeyState::VerifyOnly, KeyState::Active]);
        assert_eq!(ring.activate(&kid(2), false, &TIMING, 1300).unwrap(), ring, "repeating changes nothing");
        let early = ring.retire(&kid(1), &TIMING, 2529).unwrap_err();
        assert!(matches!(early, StepError::TooEarly { in_ms: 1, .. }), "{early}");
        let ring = ring.retire(&kid(1), &TIMING, 2530).unwrap();
        assert_eq!(ring.jwks().unwrap().keys.len(), 1);
        assert!(matches!(ring.purge(&kid(1), &TIMING, 3029), Err(StepError::TooEarly { .. })));
        let ring = ring.purge(&kid(1), &TIMING, 3030).unwrap();
        assert_eq!(states(&ring), [KeyState::Active]);
    }

    #[test]
    fn steps_out_of_order_say_what_is_missing() {
        let ring = KeyRing::genesis(public(1), 0).unwrap().add(public(2), 0).unwrap();
        let error = ring.retire(&kid(1), &TIMING, 9999).unwrap_err();
        assert!(error.to_string().ends_with("is active; to retire it, activate another key first"), "{error}");
        for seed in [1, 2] {
            assert!(matches!(ring.purge(&kid(seed), &TIMING, 9999), Err(StepError::WrongState { .. })));
        }
        let retired = ring.retire(&kid(2), &TIMING, 0).unwrap();
        assert!(matches!(retired.activate(&kid(2), true, &TIMING, 9999), Err(StepError::WrongState { .. })));
        assert!(matches!(ring.activate("x", true, &TIMING, 0), Err(StepError::NotFound(_))));
    }

    #[test]
    fn every_step_before_retirement_is_reversible() {
        let ring = KeyRing::genesis(public(1), 0).unwrap().add(public(2), 0).unwrap();
        let forward = ring.activate(&kid(2), true, &TIMING, 10).unwrap();
        let back = forward.activate(&kid(1), false, &TIMING, 20).unwrap();
        assert_eq!(states(&back), [KeyState::Active, KeyState::VerifyOnly]);
        assert_eq!(back.active().unwrap().superseded_ms, None);
    }

    #[test]
    fn duplicates_and_too_many_are_refused() {
        let mut ring = KeyRing::genesis(public(0), 0).unwrap();
        assert!(matches!(ring.add(public(0), 1), Err(StepError::Duplicate(_))));
        for seed in 1..16 {
            ring = ring.add(public(seed), 1).unwrap();
        }
        assert_eq!(ring.add(public(16), 1), Err(StepError::Full));
    }

    #[test]
    fn there_is_always_one_active_key() {
        let mut ring = KeyRing::genesis(public(0), 0).unwrap();
        for seed in 1..8u8 {
            let now = u64::from(seed) * 10_000;
            ring = ring.add(public(seed), now).unwrap().activate(&kid(seed), true, &TIMING, now).unwrap();
            assert_eq!(ring.keys.iter().filter(|key| key.state == KeyState::Active).count(), 1);
        }
    }
}
