use crate::kv::{KeyValue, Revision};

/// One change of one key, as watchers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    /// The pair as it is now; of a deletion only key and mod revision.
    pub kv: KeyValue,
    /// The pair as it was; none when the key was created or the old version is compacted.
    pub prev_kv: Option<KeyValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

/// Everything that one revision changed, in the order of its operations. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionEvents {
    pub revision: Revision,
    pub events: Vec<Event>,
}
