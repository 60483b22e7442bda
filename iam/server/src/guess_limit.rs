use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use iam_core::{PrincipalId, secret};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

/// Mistakes that cost nothing: people mistype, clients retry.
const FREE: u32 = 10;
const LONGEST_MS: u64 = 300_000;
/// An entry that saw no failure for this long is forgotten.
const MEMORY_MS: u64 = 900_000;
const MAX_ENTRIES: usize = 16_384;
/// So long an address that showed a right secret is not held up by others who guess at it.
const PROVEN_MS: u64 = 3_600_000;

/// Whose secret is guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Of all its access keys together.
    Principal(PrincipalId),
    /// Nobody's name.
    Name(String),
}

/// Slows down who guesses secrets or sends forgeries, by source and by whose secret is guessed. Before the proof is
/// looked at it guards only what can be guessed (passwords and the bootstrap token), so that a neighbour behind the same
/// address with a valid token is not hurt.
#[derive(Default)]
pub(crate) struct GuessLimit(Mutex<Known>);

#[derive(Default)]
struct Known {
    entries: HashMap<Key, Entry>,
    /// When a right secret of a target came from an address last.
    proven: HashMap<(IpAddr, [u8; 32]), u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Source(IpAddr),
    /// SHA-256 of a target: callers choose names, of any length.
    Target([u8; 32]),
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    failures: u32,
    last_ms: u64,
    until_ms: u64,
}

impl GuessLimit {
    /// How many seconds to wait, if it is not this caller's turn.
    pub(crate) fn wait_s(&self, source: Option<IpAddr>, target: Option<&Target>, now_ms: u64) -> Option<u32> {
        let known = self.0.lock();
        let counts = |key: &Key| !matches!(key, Key::Target(target) if known.is_proven(source, *target, now_ms));
        let held = keys(source, target).filter(counts).filter_map(|key| known.entries.get(&key));
        let until = held.map(|entry| entry.until_ms).max()?;
        let wait = until.checked_sub(now_ms).filter(|wait| *wait > 0)?;
        Some(u32::try_from(wait.div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// Counts a failure; true at the one that begins to slow the caller down, which is worth an alert.
    pub(crate) fn failed(&self, source: Option<IpAddr>, target: Option<&Target>, now_ms: u64) -> bool {
        let entries = &mut self.0.lock().entries;
        let mut alert = false;
        for key in keys(source, target) {
            if !entries.contains_key(&key) && entries.len() >= MAX_ENTRIES {
                make_room(entries, now_ms);
            }
            let entry = entries.entry(key).or_default();
            if now_ms.saturating_sub(entry.last_ms) > MEMORY_MS {
                *entry = Entry::default();
            }
            entry.failures = entry.failures.saturating_add(1);
            entry.last_ms = now_ms;
            if let Some(beyond) = entry.failures.checked_sub(FREE) {
                alert |= beyond == 0;
                entry.until_ms = now_ms + (1000u64 << beyond.min(16)).min(LONGEST_MS);
            }
        }
        alert
    }

    /// A right secret clears whose it is, unless others are held up for guessing at it, and lets the source go on whatever
    /// they do. The source itself stays: others may be behind it.
    pub(crate) fn succeeded(&self, source: Option<IpAddr>, target: &Target, now_ms: u64) {
        let Some(hash) = target.hash() else { return };
        let known = &mut *self.0.lock();
        if known.entries.get(&Key::Target(hash)).is_some_and(|entry| entry.until_ms <= now_ms) {
            known.entries.remove(&Key::Target(hash));
        }
        if let Some(source) = source {
            known.prove((network(source), hash), now_ms);
        }
    }
}

impl Known {
    fn is_proven(&self, source: Option<IpAddr>, target: [u8; 32], now_ms: u64) -> bool {
        let at_ms = source.and_then(|source| self.proven.get(&(network(source), target)));
        at_ms.is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) <= PROVEN_MS)
    }

    fn prove(&mut self, whose: (IpAddr, [u8; 32]), now_ms: u64) {
        if self.proven.len() >= MAX_ENTRIES && !self.proven.contains_key(&whose) {
            self.proven.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) <= PROVEN_MS);
            let oldest = self.proven.iter().min_by_key(|(_, at_ms)| **at_ms).map(|(whose, _)| *whose);
            if let Some(oldest) = oldest.filter(|_| self.proven.len() >= MAX_ENTRIES) {
                self.proven.remove(&oldest);
            }
        }
        self.proven.insert(whose, now_ms);
    }
}

impl Target {
    /// A SHA-256 is always 32 bytes long.
    fn hash(&self) -> Option<[u8; 32]> {
        let text = match self {
            Self::Principal(id) => format!("principal {id}"),
            Self::Name(name) => format!("name {name}"),
        };
        digest(&SHA256, text.as_bytes()).as_ref().try_into().ok()
    }
}

/// As the history names it. What nobody is called may be a secret that was typed into the wrong field.
impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(id) => id.fmt(out),
            Self::Name(name) => {
                let hash = secret::sha256_hex(name.as_bytes());
                write!(out, "nobody (SHA-256 {}…)", hash.get(..16).unwrap_or_default())
            }
        }
    }
}

fn keys(source: Option<IpAddr>, target: Option<&Target>) -> impl Iterator<Item = Key> {
    source.map(|source| Key::Source(network(source))).into_iter().chain(target.and_then(Target::hash).map(Key::Target))
}

/// One customer of IPv6 has a whole /64.
pub(crate) fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Forgets what is old; if nothing is, the entry with the least failures.
fn make_room(entries: &mut HashMap<Key, Entry>, now_ms: u64) {
    entries.retain(|_, entry| now_ms.saturating_sub(entry.last_ms) <= MEMORY_MS);
    if entries.len() >= MAX_ENTRIES {
        let least = entries.iter().min_by_key(|(_, entry)| (entry.failures, entry.last_ms)).map(|(key, _)| *key);
        if let Some(key) = least {
            entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn mira() -> Target {
        Target::Principal("user/mira".parse().unwrap())
    }

    #[test]
    fn waits_grow_and_end() {
        let limit = GuessLimit::default();
        for _ in 1..FREE {
            assert!(!limit.failed(SOURCE, Some(&mira()), 0));
            assert_eq!(limit.wait_s(SOURCE, Some(&mira()), 0), None);
        }
        assert!(limit.failed(SOURCE, Some(&mira()), 0));
        assert_eq!(limit.wait_s(SOURCE, None, 0), Some(1));
        assert_eq!(limit.wait_s(None, Some(&mira()), 0), Some(1));
        assert_eq!(limit.wait_s(SOURCE, None, 1000), None);
        assert!(!limit.failed(SOURCE, None, 1000));
        assert_eq!(limit.wait_s(SOURCE, None, 1000), Some(2));
        for _ in 0..40 {
            limit.failed(SOURCE, None, 1000);
        }
        assert_eq!(limit.wait_s(SOURCE, None, 1000), Some(300));
        limit.failed(SOURCE, None, 1000 + MEMORY_MS + 1);
        assert_eq!(limit.wait_s(SOURCE, None, 1000 + MEMORY_MS + 1), None);
    }

    #[test]
    fn a_right_secret_clears_its_owner_only() {
        let limit = GuessLimit::default();
        for _ in 0..FREE {
            limit.failed(SOURCE, Some(&mira()), 0);
        }
        limit.succeeded(SOURCE, &mira(), 1000);
        limit.failed(None, Some(&mira()), 1000);
        assert_eq!(limit.wait_s(None, Some(&mira()), 1000), None, "it begins anew");
        limit.failed(SOURCE, None, 1000);
        assert!(limit.wait_s(SOURCE, None, 1000).is_some());
    }

    #[test]
    fn who_was_right_lately_is_held_up_by_nobody_else() {
        let (limit, home) = (GuessLimit::default(), Some(IpAddr::from([192, 0, 2, 1])));
        let hour_ms = PROVEN_MS;
        limit.succeeded(home, &mira(), 0);
        for _ in 0..=FREE {
            limit.failed(SOURCE, Some(&mira()), hour_ms);
        }
        assert_eq!(limit.wait_s(home, Some(&mira()), hour_ms), None);
        assert_eq!(limit.wait_s(SOURCE, Some(&mira()), hour_ms), Some(2));
        limit.succeeded(home, &mira(), hour_ms);
        assert_eq!(limit.wait_s(None, Some(&mira()), hour_ms), Some(2), "and guessers are helped by nobody");
        let noor = Target::Principal("user/noor".parse().unwrap());
        for _ in 0..FREE {
            limit.failed(None, Some(&noor), hour_ms);
            limit.failed(None, Some(&mira()), 2 * hour_ms + 1);
        }
        assert!(limit.wait_s(home, Some(&noor), hour_ms).is_some(), "another's");
        assert!(limit.wait_s(home, Some(&mira()), 2 * hour_ms + 1).is_some(), "an hour later");
        for _ in 0..FREE {
            limit.failed(home, Some(&mira()), 4 * hour_ms);
        }
        limit.succeeded(home, &mira(), 4 * hour_ms);
        assert!(limit.wait_s(home, Some(&mira()), 4 * hour_ms).is_some(), "by its own guesses");
    }

    #[test]
    fn a_name_is_no_principal() {
        let limit = GuessLimit::default();
        for _ in 0..FREE {
            limit.failed(None, Some(&Target::Name("user/mira".into())), 0);
        }
        assert_eq!(limit.wait_s(None, Some(&mira()), 0), None, "nobody locks out whoever he can name");
    }

    #[test]
    fn memory_is_bounded() {
        let limit = GuessLimit::default();
        for number in 0..MAX_ENTRIES + 10 {
            limit.failed(None, Some(&Target::Name(number.to_string())), 0);
        }
        assert_eq!(limit.0.lock().entries.len(), MAX_ENTRIES);
        for number in 0..u32::try_from(MAX_ENTRIES).unwrap() + 10 {
            limit.succeeded(Some(IpAddr::from(number.to_be_bytes())), &mira(), number.into());
        }
        assert_eq!(limit.0.lock().proven.len(), MAX_ENTRIES);
        assert!(!limit.0.lock().proven.values().any(|at_ms| *at_ms < 10), "the oldest go first");
        // Nothing that a caller sends is kept as it is.
        assert!(size_of::<(Key, Entry)>() <= 64 && !std::mem::needs_drop::<Key>());
    }
}
