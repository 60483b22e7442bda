//! Keys of the log database. The group comes first, so that one range is one group's log.

use crate::GroupId;

/// Column family of entries, keyed group (2 bytes) and index (8 bytes), big-endian.
pub(super) const ENTRIES: &str = "entries";

/// Column family of what a group remembers beside its entries, keyed group (2 bytes) and a name.
pub(super) const META: &str = "meta";

/// What a group remembers beside its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Vote,
    Committed,
    Purged,
    /// Of all groups together; see `witness`.
    Mark,
}

pub(super) fn entry(group: GroupId, index: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&group.0.to_be_bytes());
    key[2..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The first key behind a group's last possible entry.
pub(super) fn entries_end(group: GroupId) -> Vec<u8> {
    let mut key = entry(group, u64::MAX).to_vec();
    key.push(0);
    key
}

/// The index that an entry's key names.
pub(super) fn index_of(key: &[u8]) -> Option<u64> {
    let (_, index) = key.split_first_chunk::<2>()?;
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

pub(super) fn meta(group: GroupId, what: Meta) -> Vec<u8> {
    let name: &[u8] = match what {
        Meta::Vote => b"vote",
        Meta::Committed => b"committed",
        Meta::Purged => b"purged",
        Meta::Mark => b"mark",
    };
    [&group.0.to_be_bytes(), name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_release_is_frozen() {
        assert_eq!(entry(GroupId(2), 258), [0, 2, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(index_of(&entry(GroupId(2), 258)), Some(258));
        assert_eq!(index_of(b"short"), None);
        assert_eq!(meta(GroupId(1), Meta::Vote), b"\0\x01vote");
        assert_eq!(meta(GroupId(0), Meta::Mark), b"\0\0mark");
        assert!(entry(GroupId(2), u64::MAX).as_slice() < entries_end(GroupId(2)).as_slice());
        assert!(entries_end(GroupId(2)).as_slice() < entry(GroupId(3), 0).as_slice());
    }
}
