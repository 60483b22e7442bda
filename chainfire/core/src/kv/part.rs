use bytes::Bytes;
use holdfast_keyspace::Read;

use super::{KeyValue, Keys, Revision, current_revision, index::Version, live, live::LiveKeys, range::check_readable};
use crate::{Failure, Halt};

/// What one part of a large answer has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimit {
    pub items: usize,
    /// Of keys and values. The item with which they are reached is the last.
    pub bytes: usize,
}

/// A piece of a range, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangePart {
    pub kvs: Vec<KeyValue>,
    /// Where the rest begins, which has at least one pair; none if this was all.
    pub rest: Option<Keys>,
}

/// Reads the beginning of `keys` as revision `at` sees them. Parts of one revision fit together, however much is
/// written between them, until the revision is compacted.
pub fn range_part(
    read: &dyn Read,
    keys: &Keys,
    at: Revision,
    limit: PartLimit,
    keys_only: bool,
) -> Result<RangePart, Failure> {
    check_readable(read, Some(at), current_revision(read)?)?;
    let mut part = RangePart { kvs: Vec::new(), rest: None };
    let mut bytes = 0;
    for version in LiveKeys::new(read, keys, at) {
        let version = version?;
        if part.kvs.len() >= limit.items.max(1) || bytes >= limit.bytes {
            part.rest = Some(keys.from(version.key));
            break;
        }
        let kv = pair(read, version, keys_only)?;
        bytes += kv.key.len() + kv.value.len();
        part.kvs.push(kv);
    }
    Ok(part)
}

fn pair(read: &dyn Read, version: Version, keys_only: bool) -> Result<KeyValue, Halt> {
    match version.live {
        Some(live) if keys_only => Ok(version.without_value(live)),
        _ => live::load(read, version.row),
    }
}

impl Keys {
    /// What of the selection is at or after `start`, a key of it.
    fn from(&self, start: Bytes) -> Self {
        match self {
            Self::One(_) => Self::One(start),
            Self::Range { end, .. } => Self::Range { start, end: end.clone() },
            Self::From(_) => Self::From(start),
        }
    }
}
