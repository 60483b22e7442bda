//! How often something may be asked for, by whoever asks.

use std::{collections::HashMap, hash::Hash};

use parking_lot::Mutex;

/// Askers that are remembered; those who have not asked lately need not be.
const MOST: usize = 16_384;

/// So many in a second for ever, and so many at once after a rest. Neither is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

/// It is not this asker's turn before so many seconds have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub seconds: u32,
}

/// A leaky bucket for each asker, kept as the time at which it is empty again (the generic cell rate algorithm of ATM,
/// ITU-T I.371).
pub struct RateLimit<K> {
    rate: Rate,
    empty_us: Mutex<HashMap<K, u64>>,
}

impl Rate {
    fn interval_us(self) -> u64 {
        (1_000_000 / u64::from(self.per_second.max(1))).max(1)
    }

    /// How much later than now a bucket may be empty.
    fn tolerance_us(self) -> u64 {
        self.interval_us() * u64::from(self.burst.max(1))
    }

    /// So many times as often.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        Self { per_second: self.per_second.saturating_mul(factor), burst: self.burst.saturating_mul(factor) }
    }
}

impl<K: Eq + Hash> RateLimit<K> {
    pub fn new(rate: Rate) -> Self {
        Self { rate, empty_us: Mutex::default() }
    }

    /// Whether `asker` would have to wait; it costs nothing. `steady_ms` is a clock that never goes back.
    pub fn check(&self, asker: &K, steady_ms: u64) -> Result<(), Wait> {
        let now_us = steady_ms.saturating_mul(1000);
        let empty_us = self.empty_us.lock().get(asker).copied().unwrap_or(now_us);
        self.after(empty_us, now_us).map(drop)
    }

    /// Counts one.
    pub fn take(&self, asker: K, steady_ms: u64) -> Result<(), Wait> {
        let now_us = steady_ms.saturating_mul(1000);
        let mut buckets = self.empty_us.lock();
        if buckets.len() >= MOST && !buckets.contains_key(&asker) {
            buckets.retain(|_, empty_us| *empty_us > now_us);
            if buckets.len() >= MOST {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(asker).or_insert(now_us);
        *bucket = self.after(*bucket, now_us)?;
        Ok(())
    }

    /// When the bucket is empty after one more.
    fn after(&self, empty_us: u64, now_us: u64) -> Result<u64, Wait> {
        let after_us = empty_us.max(now_us) + self.rate.interval_us();
        match after_us.saturating_sub(now_us).checked_sub(self.rate.tolerance_us()) {
            Some(beyond_us) if beyond_us > 0 => {
                Err(Wait { seconds: u32::try_from(beyond_us.div_ceil(1_000_000)).unwrap_or(u32::MAX) })
            }
            Some(_) | None => Ok(after_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let limit = RateLimit::new(Rate { per_second: 10, burst: 20 });
        let passed = |asker, at| (0..100).filter(|_| limit.take(asker, at).is_ok()).count();
        assert_eq!((passed("greedy", 5000), passed("greedy", 5000)), (20, 0));
        assert_eq!(limit.check(&"greedy", 5000), Err(Wait { seconds: 1 }));
        assert_eq!((limit.check(&"modest", 5000), passed("modest", 5000)), (Ok(()), 20), "each has a bucket");
        assert_eq!((passed("greedy", 5100), passed("greedy", 6100)), (1, 10));
        assert_eq!(passed("greedy", 60_000), 20, "rest is not saved up");
    }

    #[test]
    fn the_slowest_rate_says_how_long_to_wait() {
        let limit = RateLimit::new(Rate { per_second: 1, burst: 3 });
        assert_eq!((0..3).map(|_| limit.take((), 0)).collect::<Vec<_>>(), [Ok(()); 3]);
        assert_eq!(limit.take((), 0), Err(Wait { seconds: 1 }));
        assert_eq!((limit.take((), 1000), limit.take((), 1000)), (Ok(()), Err(Wait { seconds: 1 })));
    }

    #[test]
    fn memory_is_bounded() {
        let limit = RateLimit::new(Rate { per_second: 1, burst: 1 });
        for asker in 0..3 * MOST {
            assert_eq!(limit.take(asker, 0), Ok(()));
        }
        assert!(limit.empty_us.lock().len() <= MOST);
        limit.take(0, 10_000).unwrap();
    }
}
