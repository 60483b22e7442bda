use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use iam_core::PrincipalId;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

/// Mistakes that cost nothing: people mistype, clients retry.
const FREE: u32 = 10;
const LONGEST_MS: u64 = 300_000;
/// An entry that saw no failure for this long is forgotten.
const MEMORY_MS: u64 = 900_000;
const MAX_ENTRIES: usize = 16_384;

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
pub(crate) struct GuessLimit(Mutex<HashMap<Key, Entry>>);

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
        let entries = self.0.lock();
        let until = keys(source, target).filter_map(|key| entries.get(&key)).map(|entry| entry.until_ms).max()?;
        let wait = until.checked_sub(now_ms).filter(|wait| *wait > 0)?;
        Some(u32::try_from(wait.div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// Counts a failure; true at the one that begins to slow the caller down, which is worth an alert.
    pub(crate) fn failed(&self, source: Option<IpAddr>, target: Option<&Target>, now_ms: u64) -> bool {
        let mut entries = self.0.lock();
        let mut alert = false;
        for key in keys(source, target) {
            if !entries.contains_key(&key) && entries.len() >= MAX_ENTRIES {
                make_room(&mut entries, now_ms);
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

    /// A right secret clears whose it is. The source stays: others may be behind it.
    pub(crate) fn succeeded(&self, target: &Target) {
        if let Some(key) = Key::target(target) {
            self.0.lock().remove(&key);
        }
    }
}

impl Key {
    /// A SHA-256 is always 32 bytes long.
    fn target(target: &Target) -> Option<Self> {
        let text = match target {
            Target::Principal(id) => format!("principal {id}"),
            Target::Name(name) => format!("name {name}"),
        };
        digest(&SHA256, text.as_bytes()).as_ref().try_into().ok().map(Self::Target)
    }
}

fn keys(source: Option<IpAddr>, target: Option<&Target>) -> impl Iterator<Item = Key> {
    source.map(|source| Key::Source(network(source))).into_iter().chain(target.and_then(Key::target))
}

/// One customer of IPv6 has a whole /64.
fn network(source: IpAddr) -> IpAddr {
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
        limit.succeeded(&mira());
        assert_eq!(limit.wait_s(None, Some(&mira()), 0), None);
        assert!(limit.wait_s(SOURCE, None, 0).is_some());
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
        assert_eq!(limit.0.lock().len(), MAX_ENTRIES);
        // Nothing that a caller sends is kept as it is.
        assert!(size_of::<(Key, Entry)>() <= 64 && !std::mem::needs_drop::<Key>());
    }
}
