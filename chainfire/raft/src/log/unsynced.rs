use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long the oldest of what was written, and is not on disk yet, has been waiting. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsynced(Arc<Mutex<Option<Instant>>>);

impl Unsynced {
    /// A sync begins.
    pub(crate) fn begin(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Everything for which it began is on disk, or never will be.
    pub(crate) fn end(&self) {
        *self.0.lock() = None;
    }

    /// None while nothing waits.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.0.lock().map(|begun| begun.elapsed())
    }
}
