use std::collections::BTreeMap;

/// What those who verify are known to enforce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The version of the set that they should have.
    pub version: u64,
    pub verifiers: Vec<Verifier>,
}

/// Somebody who verifies and says what it enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    pub name: String,
    pub part: Part,
    /// None of one that has never said anything.
    pub acknowledged: Option<Acknowledgement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Issues and verifies. Cut off, it goes on until its stale limit.
    Server,
    /// Verifies with what it fetched.
    Client,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// It enforces this version of the set.
    pub version: u64,
    pub at_ms: u64,
    /// Until when something lasts that it made with an item; by the item's id.
    pub in_use_until_ms: BTreeMap<String, u64>,
}

impl Evidence {
    /// Who is not known to enforce the present version, with the time of its last word.
    pub fn behind(&self) -> Vec<(String, Option<u64>)> {
        self.missing().map(Verifier::last_word).collect()
    }

    /// The server that made what lasts longest of the item `id`, and until when that lasts.
    pub fn longest(&self, id: &str) -> Option<(String, u64)> {
        let lasts = |server: &Verifier| Some((server.name.clone(), server.in_use_until_ms(id)?));
        self.servers().filter_map(lasts).max_by_key(|(_, until_ms)| *until_ms)
    }

    /// Those who are not known to enforce the present version.
    pub(super) fn missing(&self) -> impl Iterator<Item = &Verifier> {
        self.verifiers.iter().filter(|verifier| !self.enforced_by(verifier))
    }

    pub(super) fn enforced_by(&self, verifier: &Verifier) -> bool {
        verifier.acknowledged.as_ref().is_some_and(|acknowledged| acknowledged.version >= self.version)
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &Verifier> {
        self.verifiers.iter().filter(|verifier| verifier.part == Part::Server)
    }
}

impl Verifier {
    pub(super) fn last_word(&self) -> (String, Option<u64>) {
        (self.name.clone(), self.acknowledged.as_ref().map(|acknowledged| acknowledged.at_ms))
    }

    pub(super) fn in_use_until_ms(&self, id: &str) -> Option<u64> {
        self.acknowledged.as_ref().and_then(|acknowledged| acknowledged.in_use_until_ms.get(id).copied())
    }
}
