use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use ring::digest;

use crate::Error;

/// Tokens that servers have made up: random letters, a dot, and the index of the log entry that told all servers. They
/// are in memory only; a server that starts again knows none of those from before.
pub(crate) struct SimpleTokens {
    ttl: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    tokens: HashMap<[u8; 32], Held>,
    swept: Option<Instant>,
}

struct Held {
    user: Arc<str>,
    index: u64,
    ends: Instant,
}

/// A token that a server knows.
pub(crate) struct Issued {
    /// SHA-256 of the letters.
    pub(crate) token: [u8; 32],
    pub(crate) user: String,
    pub(crate) index: u64,
    /// How long ago it was asked for.
    pub(crate) age: Duration,
}

/// The two parts of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) letters: &'a str,
    pub(super) index: u64,
}

const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LENGTH: usize = 16;
/// More than this are not kept at a time; the one that ends first makes room.
const MOST: usize = 100_000;
const SWEEP: Duration = Duration::from_secs(1);

/// The secret part of a new token.
pub(super) fn draw() -> Result<String, Error> {
    // The largest multiple of the number of letters that a byte can hold: a larger byte would favour some letters.
    const FAIR: u8 = 208;
    let mut letters = String::with_capacity(LENGTH);
    while letters.len() < LENGTH {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| Error::Storage(format!("no randomness: {error}")))?;
        let fair = bytes.into_iter().filter(|byte| *byte < FAIR);
        let drawn = fair.filter_map(|byte| LETTERS.get(usize::from(byte) % LETTERS.len()));
        letters.extend(drawn.take(LENGTH - letters.len()).map(|letter| char::from(*letter)));
    }
    Ok(letters)
}

/// What the log and the servers' memory have of the secret part.
pub(super) fn sealed(letters: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, letters.as_bytes()).as_ref());
    out
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a str) -> Option<Self> {
        let (letters, index) = token.split_once('.')?;
        Some(Self { letters, index: index.parse().ok()? })
    }
}

impl SimpleTokens {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, known: Mutex::default() }
    }

    /// A token that a log entry tells of. One from long ago is forgotten already: this server reads an old entry.
    pub(crate) fn issued(&self, issued: Issued, now: Instant) {
        let Some(left) = self.ttl.checked_sub(issued.age) else { return };
        let mut known = self.known.lock();
        if known.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP) {
            known.swept = Some(now);
            known.tokens.retain(|_, held| held.ends > now);
        }
        if known.tokens.len() >= MOST {
            let first = known.tokens.iter().min_by_key(|(_, held)| held.ends).map(|(token, _)| *token);
            first.and_then(|token| known.tokens.remove(&token));
        }
        let held = Held { user: issued.user.into(), index: issued.index, ends: now + left };
        known.tokens.insert(issued.token, held);
    }

    /// Forgets the tokens of `user`, or all.
    pub(crate) fn ended(&self, user: Option<&str>) {
        self.known.lock().tokens.retain(|_, held| user.is_some_and(|user| *held.user != *user));
    }

    /// Whose token it is. Being used gives a token its whole time again.
    pub(super) fn user(&self, token: &str, now: Instant) -> Option<Arc<str>> {
        let Parts { letters, index } = Parts::of(token)?;
        let mut known = self.known.lock();
        let held = known.tokens.get_mut(&sealed(letters)).filter(|held| held.index == index && held.ends > now)?;
        held.ends = now + self.ttl;
        Some(held.user.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn issue(tokens: &SimpleTokens, letters: &str, user: &str, age: Duration, now: Instant) {
        tokens.issued(Issued { token: sealed(letters), user: user.into(), index: 5, age }, now);
    }

    #[test]
    fn secrets_are_sixteen_letters_and_differ() {
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert!(one.len() == 16 && one.bytes().all(|byte| byte.is_ascii_alphabetic()), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn a_token_is_its_letters_and_its_number() {
        let (tokens, now) = (SimpleTokens::new(TTL), Instant::now());
        issue(&tokens, "abc", "mira", Duration::ZERO, now);
        assert_eq!(tokens.user("abc.5", now).as_deref(), Some("mira"));
        for other in ["abc.6", "abd.5", "abc", "abc.", "abc.5.5", "", ".5"] {
            assert_eq!(tokens.user(other, now), None, "{other}");
        }
    }

    #[test]
    fn use_prolongs_a_token_and_disuse_ends_it() {
        let (tokens, start) = (SimpleTokens::new(TTL), Instant::now());
        issue(&tokens, "abc", "mira", Duration::ZERO, start);
        assert!(tokens.user("abc.5", start + TTL / 2).is_some());
        assert!(tokens.user("abc.5", start + TTL + TTL / 4).is_some());
        assert!(tokens.user("abc.5", start + TTL * 3).is_none());
    }

    #[test]
    fn an_entry_from_long_ago_issues_nothing() {
        let (tokens, now) = (SimpleTokens::new(TTL), Instant::now());
        issue(&tokens, "abc", "mira", TTL * 2, now);
        assert!(tokens.user("abc.5", now).is_none());
    }

    #[test]
    fn tokens_end_with_their_user_or_all_together() {
        let (tokens, now) = (SimpleTokens::new(TTL), Instant::now());
        for (letters, user) in [("a", "mira"), ("b", "ivo"), ("c", "mira")] {
            issue(&tokens, letters, user, Duration::ZERO, now);
        }
        tokens.ended(Some("mira"));
        assert_eq!(["a.5", "b.5", "c.5"].map(|token| tokens.user(token, now).is_some()), [false, true, false]);
        tokens.ended(None);
        assert!(tokens.user("b.5", now).is_none());
    }

    #[test]
    fn there_is_a_most_of_them() {
        let (tokens, now) = (SimpleTokens::new(TTL), Instant::now());
        for n in 0..=MOST {
            issue(&tokens, &n.to_string(), "mira", TTL - Duration::from_millis(n as u64), now);
        }
        assert_eq!(tokens.known.lock().tokens.len(), MOST);
    }
}
