use chainfire_core::kv::{Event, EventKind, Keys, Revision};

/// A watcher's name within its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WatchId(pub(crate) i64);

impl WatchId {
    /// Stands for no watcher: failed creations, and progress of the whole stream.
    pub(crate) const NONE: Self = Self(-1);
}

/// What a client asked to watch.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    pub(crate) id: WatchId,
    pub(crate) keys: Keys,
    /// Nothing older is reported.
    pub(crate) start: Revision,
    /// The client named a revision that did not exist yet: until then there is no progress to report either.
    pub(crate) future: bool,
    pub(crate) filters: Filters,
    pub(crate) prev_kv: bool,
    pub(crate) fragment: bool,
    pub(crate) progress_notify: bool,
}

/// Kinds of events to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    pub(crate) no_put: bool,
    pub(crate) no_delete: bool,
}

impl Watcher {
    /// Whether the client wants to hear of `event`.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        let filtered = match event.kind {
            EventKind::Put => self.filters.no_put,
            EventKind::Delete => self.filters.no_delete,
        };
        !filtered && self.keys.contains(&event.kv.key)
    }
}
