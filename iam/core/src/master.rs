//! The master keys: those that a server holds, and what the plane knows about those that were ever in use.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    record::{Genesis, Record},
    rotation::{Item, Rotates, Set, State},
    seal::{Label, MasterKey, SealError, Sealed},
};

/// The keys that a server was given: the one to use, and while that takes its place the one before. Which of them seals
/// is not decided here: all servers agree on it by [`Masters`].
#[derive(Clone, Debug)]
pub struct MasterKeys {
    current: Named,
    previous: Option<Named>,
}

/// A key beside its name, so that opening takes as long with either.
#[derive(Clone, Debug)]
struct Named {
    id: String,
    key: MasterKey,
}

/// Every master key that the plane knows, in one record. Until the first rotation there is none, and the [`Genesis`] says
/// which one it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Masters {
    pub keys: Set<Master>,
}

/// What is kept of a master key, under its name ([`MasterKey::id`]); never the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// [`MasterKey::check`].
    pub check: String,
    /// [`MasterKey::tag`] of the bootstrap token; none if the token had been disabled before the key was added.
    pub admin_token_tag: Option<String>,
}

/// How far the sealed secrets are on their way from the master key in overlap to the active one: a pass over all of them
/// in the order of their keys. Whatever is sealed after the pass has begun is sealed with the active one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealing {
    /// The revision of the [`Masters`] that this pass is for.
    pub since: u64,
    /// The key of the last record that was looked at, hex.
    pub after: String,
    /// Secrets that were looked at, which now are under the active key.
    pub resealed: u64,
    /// Secrets that there were when the pass began.
    pub total: u64,
    pub complete: bool,
}

impl MasterKeys {
    /// `previous` is another key than `current`.
    pub fn new(current: MasterKey, previous: Option<MasterKey>) -> Self {
        let named = |key: MasterKey| Named { id: key.id(), key };
        Self { current: named(current), previous: previous.map(named) }
    }

    pub fn current(&self) -> &MasterKey {
        &self.current.key
    }

    pub fn iter(&self) -> impl Iterator<Item = &MasterKey> {
        self.named().map(|named| &named.key)
    }

    /// The one that is called `id`.
    pub fn get(&self, id: &str) -> Option<&MasterKey> {
        self.named().find(|named| named.id == id).map(|named| &named.key)
    }

    pub fn ids(&self) -> Vec<String> {
        self.named().map(|named| named.id.clone()).collect()
    }

    fn named(&self) -> impl Iterator<Item = &Named> {
        [&self.current].into_iter().chain(&self.previous)
    }

    /// Opens with the key that the sealed value names.
    pub fn open(&self, label: Label<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match self.get(&sealed.master) {
            Some(key) => key.open(label, sealed),
            None => Err(SealError::OtherMaster { found: sealed.master.clone(), have: self.ids().join(" and ") }),
        }
    }
}

impl Masters {
    /// Before the first rotation; none if the genesis was made with a key that is not among `held`.
    pub fn of_genesis(genesis: &Genesis, held: &MasterKeys) -> Option<Self> {
        let key = held.iter().find(|key| key.check() == genesis.master_key_check)?;
        let Genesis { master_key_check: check, admin_token_tag, .. } = genesis.clone();
        let first = Master { check, admin_token_tag: Some(admin_token_tag) };
        Some(Self { keys: Set::genesis(key.id(), first, genesis.created_ms) })
    }

    /// Those without which something that is sealed cannot be opened.
    pub fn needed(&self) -> impl Iterator<Item = &Item<Master>> {
        self.keys.items.iter().filter(|key| matches!(key.state, State::Active | State::Overlap))
    }
}

impl Rotates for Master {
    const NOUN: &'static str = "master key";
    const OVERLAP: &'static str = "overlap";
    const CAPACITY: usize = 8;
}

/// The record, as it is frozen.
#[derive(Serialize, Deserialize)]
struct Stored {
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    id: String,
    check: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    admin_token_tag: Option<String>,
    state: StoredState,
    added_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superseded_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired_ms: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredState {
    Pending,
    Active,
    Overlap,
    Retired,
    Compromised,
}

impl From<Masters> for Stored {
    fn from(masters: Masters) -> Self {
        let stored = |key: Item<Master>| StoredKey {
            id: key.id,
            check: key.value.check,
            admin_token_tag: key.value.admin_token_tag,
            state: match key.state {
                State::Pending => StoredState::Pending,
                State::Active => StoredState::Active,
                State::Overlap => StoredState::Overlap,
                State::Retired => StoredState::Retired,
                State::Compromised => StoredState::Compromised,
            },
            added_ms: key.added_ms,
            activated_ms: key.activated_ms,
            superseded_ms: key.superseded_ms,
            retired_ms: key.retired_ms,
        };
        Self { keys: masters.keys.items.into_iter().map(stored).collect() }
    }
}

impl From<Stored> for Masters {
    fn from(stored: Stored) -> Self {
        let read = |key: StoredKey| Item {
            id: key.id,
            value: Master { check: key.check, admin_token_tag: key.admin_token_tag },
            state: match key.state {
                StoredState::Pending => State::Pending,
                StoredState::Active => State::Active,
                StoredState::Overlap => State::Overlap,
                StoredState::Retired => State::Retired,
                StoredState::Compromised => State::Compromised,
            },
            added_ms: key.added_ms,
            activated_ms: key.activated_ms,
            superseded_ms: key.superseded_ms,
            retired_ms: key.retired_ms,
        };
        Self { keys: Set { items: stored.keys.into_iter().map(read).collect() } }
    }
}

impl Record for Masters {}
impl Record for Resealing {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{MASTER_KEY, NONCE};

    const LABEL: Label<'_> = Label { kind: "credential", principal: "user/mira", key: "HFAK1" };

    #[test]
    fn what_either_key_sealed_opens() {
        let [old, new, other] = [7, 8, 9].map(|byte| MasterKey::new([byte; MASTER_KEY]));
        let both = MasterKeys::new(new.clone(), Some(old.clone()));
        for key in [&old, &new] {
            let sealed = key.seal(LABEL, b"secret", [1; NONCE]).unwrap();
            assert_eq!(both.open(LABEL, &sealed).unwrap().as_slice(), b"secret");
            let renamed = Sealed { master: if key.id() == old.id() { new.id() } else { old.id() }, ..sealed };
            assert_eq!(both.open(LABEL, &renamed), Err(SealError::Damaged), "the name does not help");
        }
        let foreign = other.seal(LABEL, b"secret", [1; NONCE]).unwrap();
        let have = format!("{} and {}", new.id(), old.id());
        assert_eq!(both.open(LABEL, &foreign), Err(SealError::OtherMaster { found: other.id(), have }));
    }

    #[test]
    fn the_genesis_names_the_first_one() {
        let [old, new] = [7, 8].map(|byte| MasterKey::new([byte; MASTER_KEY]));
        let genesis = Genesis {
            created_ms: 1,
            trust_domain: "harbour.example".into(),
            master_key_check: old.check(),
            admin_token_tag: "bb".into(),
            first_kid: "k".into(),
        };
        let both = MasterKeys::new(new.clone(), Some(old.clone()));
        let masters = Masters::of_genesis(&genesis, &both).unwrap();
        assert_eq!(masters.keys.active().unwrap().id, old.id());
        assert_eq!(Masters::of_genesis(&genesis, &MasterKeys::new(new, None)), None);
    }
}
