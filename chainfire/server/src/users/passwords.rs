use std::{sync::Arc, thread};

use bcrypt::{BcryptError, Version};
use chainfire_core::auth::PasswordHash;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::Error;

/// Hashes and compares passwords. Both are slow on purpose, so they have threads of their own, not more than the machine
/// has processors, and a queue that ends.
pub(crate) struct Passwords {
    cost: u32,
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

/// Calls that may wait for their turn. Whoever guesses passwords is made to wait, not the server.
const QUEUE: usize = 1_024;

impl Passwords {
    pub(crate) fn new(cost: u32) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { cost, turns: Arc::new(Semaphore::new(processors)), queue: Arc::new(Semaphore::new(QUEUE)) }
    }

    /// The hash to store: version 2a, as etcd writes it.
    pub(crate) async fn hash(&self, password: Zeroizing<String>) -> Result<PasswordHash, Error> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| Error::Storage(format!("no randomness: {error}")))?;
        let cost = self.cost;
        let hashed =
            self.slowly(move || bcrypt::non_truncating_hash_with_salt(password.as_bytes(), cost, salt)).await?;
        match hashed {
            Ok(parts) => Ok(PasswordHash(parts.format_for_version(Version::TwoA).into_bytes())),
            Err(BcryptError::Truncation(_)) => Err(Error::PasswordTooLong),
            Err(error) => Err(Error::Storage(format!("bcrypt: {error}"))),
        }
    }

    /// Whether `password` is the one of `hash`. No hash takes as long as a wrong password.
    pub(crate) async fn fits(&self, hash: Option<PasswordHash>, password: Zeroizing<String>) -> Result<bool, Error> {
        let decoy = format!("$2a${:02}${}", self.cost, ".".repeat(53));
        let fits = move || match hash.and_then(|hash| String::from_utf8(hash.0).ok()).filter(|hash| !hash.is_empty()) {
            Some(hash) => bcrypt::verify(password.as_bytes(), &hash).unwrap_or(false),
            None => {
                let _ = bcrypt::verify(password.as_bytes(), &decoy);
                false
            }
        };
        self.slowly(fits).await
    }

    async fn slowly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let place = self.queue.clone().try_acquire_owned().map_err(|_| Error::TooManyRequests)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| Error::Stopped)?;
        drop(place);
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        working.await.map_err(|join| Error::Storage(join.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn password(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_password_fits_its_hash() {
        let passwords = Passwords::new(4);
        let hash = passwords.hash(password("secret")).await.unwrap();
        assert!(hash.0.starts_with(b"$2a$04$"));
        assert_ne!(hash, passwords.hash(password("secret")).await.unwrap());
        assert!(passwords.fits(Some(hash.clone()), password("secret")).await.unwrap());
        for wrong in ["Secret", "", "secret\0"] {
            assert!(!passwords.fits(Some(hash.clone()), password(wrong)).await.unwrap());
        }
        assert!(!passwords.fits(None, password("")).await.unwrap());
        assert!(!passwords.fits(Some(PasswordHash(Vec::new())), password("")).await.unwrap());
    }

    /// A hash that golang.org/x/crypto/bcrypt has made.
    #[tokio::test]
    async fn hashes_of_etcd_are_understood() {
        let hash = PasswordHash(b"$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga".to_vec());
        assert!(Passwords::new(4).fits(Some(hash), password("allmine")).await.unwrap());
    }

    #[tokio::test]
    async fn a_password_that_would_be_cut_is_refused() {
        let hashed = Passwords::new(4).hash(password(&"x".repeat(73))).await;
        assert_eq!(hashed, Err(Error::PasswordTooLong));
    }

    #[tokio::test]
    async fn a_user_that_does_not_exist_takes_as_long() {
        let passwords = Passwords::new(6);
        let hash = passwords.hash(password("secret")).await.unwrap();
        let mut shortest = [Duration::MAX; 2];
        for _ in 0..5 {
            for (shortest, hash) in shortest.iter_mut().zip([Some(hash.clone()), None]) {
                let start = Instant::now();
                assert!(!passwords.fits(hash, password("wrong")).await.unwrap());
                *shortest = start.elapsed().min(*shortest);
            }
        }
        let [known, unknown] = shortest;
        assert!(unknown > known / 2 && unknown < known * 2, "{known:?} and {unknown:?}");
    }
}
