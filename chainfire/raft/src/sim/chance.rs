use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// All of a run's chance. Clones draw from one sequence: there is one thread, so that the order is always the same.
#[derive(Clone, Debug)]
pub(super) struct Chance(Arc<Mutex<SmallRng>>);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))))
    }

    /// `0..below`.
    pub(super) fn below(&self, below: usize) -> usize {
        self.0.lock().random_range(0..below.max(1))
    }

    pub(super) fn percent(&self, percent: u32) -> bool {
        self.0.lock().random_range(0..100) < percent
    }

    pub(super) fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    pub(super) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.0.lock().random_range(from * 1_000..to * 1_000))
    }

    /// A time that is mostly `usual` milliseconds or less, and now and then up to ten times as long.
    pub(super) fn latency(&self, usual: u64) -> Duration {
        if self.percent(3) { self.millis(usual, usual * 10) } else { self.millis(0, usual) }
    }
}
