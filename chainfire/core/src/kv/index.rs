//! The index's rows. A row's key is the user's key, escaped so that the order stays and no key is a prefix of another,
//! then main and sub complemented, so that a key's newest version comes first.

use bytes::Bytes;
use holdfast_keyspace::KeyRange;

use crate::{
    Halt,
    kv::{KeyValue, Keys, Revision, row::RowId, varint},
    lease::LeaseId,
};

/// Bytes of the revision at the end of an index key.
pub(crate) const VERSION_BYTES: usize = 16;

const LIVE: u8 = 1;
const DELETED: u8 = 2;

/// One version of a key, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) key: Bytes,
    pub(crate) row: RowId,
    /// None: deleted.
    pub(crate) live: Option<Live>,
}

/// What a live version says besides key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) created: Revision,
    pub(crate) version: i64,
    pub(crate) lease: LeaseId,
}

impl Version {
    pub(super) fn of(escaped: &[u8], row: RowId, live: Option<Live>) -> Result<Self, Halt> {
        Ok(Self { key: unescape(escaped)?.into(), row, live })
    }

    /// The pair as the index alone can tell it; `live` is the version's own.
    pub(super) fn without_value(self, live: Live) -> KeyValue {
        KeyValue {
            key: self.key,
            create_revision: live.created,
            mod_revision: self.row.main,
            version: live.version,
            value: Bytes::new(),
            lease: live.lease,
        }
    }
}

/// Zero bytes become `00 ff`, the end is `00 01`.
pub(crate) fn escape(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 2 + VERSION_BYTES);
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 1]);
    out
}

fn unescape(escaped: &[u8]) -> Result<Vec<u8>, Halt> {
    let damaged = || Halt::damaged("an index key is not an escaped key");
    let (body, end) = escaped.split_last_chunk::<2>().ok_or_else(damaged)?;
    if *end != [0, 1] {
        return Err(damaged());
    }
    let mut out = Vec::with_capacity(body.len());
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        if *byte == 0 && bytes.next() != Some(&0xff) {
            return Err(damaged());
        }
        out.push(*byte);
    }
    Ok(out)
}

/// The index key of `escaped` at `row`.
pub(super) fn index_key(mut escaped: Vec<u8>, row: RowId) -> Vec<u8> {
    escaped.extend_from_slice(&(!row.main.0.cast_unsigned()).to_be_bytes());
    escaped.extend_from_slice(&(!row.sub.cast_unsigned()).to_be_bytes());
    escaped
}

/// Where the versions of `escaped` that revision `at` can see begin.
pub(super) fn seen_at(escaped: &[u8], at: Revision) -> Vec<u8> {
    index_key(escaped.to_vec(), RowId { main: at, sub: i64::MAX })
}

/// Behind every version of `escaped`, before those of the next key.
pub(super) fn behind(escaped: &[u8]) -> Vec<u8> {
    let mut out = escaped.to_vec();
    out.extend_from_slice(&[0xff; VERSION_BYTES + 1]);
    out
}

/// The index rows of a selection of keys.
pub(super) fn index_range(keys: &Keys) -> KeyRange {
    match keys {
        Keys::One(key) => {
            let escaped = escape(key);
            let end = behind(&escaped);
            KeyRange::between(escaped, end)
        }
        Keys::Range { start, end } => KeyRange::between(escape(start), escape(end)),
        Keys::From(start) => KeyRange::from(escape(start)),
    }
}

/// Splits an index key into the escaped key and the row that it names.
pub(super) fn split(index_key: &[u8]) -> Result<(&[u8], RowId), Halt> {
    let Some((escaped, suffix)) = index_key.split_last_chunk::<VERSION_BYTES>() else {
        return Err(Halt::damaged("an index key is too short"));
    };
    let number = u128::from_be_bytes(*suffix);
    let main = !((number >> 64) as u64);
    let sub = !(number as u64);
    Ok((escaped, RowId { main: Revision(main.cast_signed()), sub: sub.cast_signed() }))
}

pub(super) fn encode_live(live: Option<Live>) -> Vec<u8> {
    let Some(live) = live else { return vec![DELETED] };
    let mut out = Vec::with_capacity(16);
    out.push(LIVE);
    varint::put(&mut out, live.created.0.cast_unsigned());
    varint::put(&mut out, live.version.cast_unsigned());
    varint::put(&mut out, live.lease.0.cast_unsigned());
    out
}

pub(super) fn decode_live(bytes: &[u8]) -> Result<Option<Live>, Halt> {
    let live = || {
        let mut at = 1;
        let mut next = || varint::take(bytes, &mut at).map(u64::cast_signed);
        let live = Live { created: Revision(next()?), version: next()?, lease: LeaseId(next()?) };
        (at == bytes.len()).then_some(live)
    };
    match bytes.first() {
        Some(&DELETED) if bytes.len() == 1 => Ok(None),
        Some(&LIVE) => live().map(Some).ok_or_else(|| Halt::damaged("an index row does not decode")),
        _ => Err(Halt::damaged("an index row is neither live nor deleted")),
    }
}

pub(super) fn version(escaped: &[u8], row: RowId, value: &[u8]) -> Result<Version, Halt> {
    Version::of(escaped, row, decode_live(value)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_release_is_frozen() {
        let row = RowId { main: Revision(2), sub: 1 };
        let key = index_key(escape(b"a\0"), row);
        assert_eq!(key, b"a\0\xff\0\x01\xff\xff\xff\xff\xff\xff\xff\xfd\xff\xff\xff\xff\xff\xff\xff\xfe");
        let live = Live { created: Revision(2), version: 300, lease: LeaseId(0) };
        assert_eq!(encode_live(Some(live)), b"\x01\x02\xac\x02\x00");
        assert_eq!(encode_live(None), b"\x02");
    }

    proptest! {
        #[test]
        fn index_keys_sort_by_key_then_newest_first(
            a in proptest::collection::vec(0u8..3, 0..4), b in proptest::collection::vec(0u8..3, 0..4),
            (ma, mb) in (1i64..4, 1i64..4), (sa, sb) in (0i64..3, 0i64..3),
        ) {
            let ra = RowId { main: Revision(ma), sub: sa };
            let rb = RowId { main: Revision(mb), sub: sb };
            let (ka, kb) = (index_key(escape(&a), ra), index_key(escape(&b), rb));
            prop_assert_eq!(ka.cmp(&kb), a.cmp(&b).then(rb.cmp(&ra)));
            let (escaped, row) = split(&ka).unwrap();
            prop_assert_eq!((unescape(escaped).unwrap(), row), (a, ra));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = split(&bytes);
            let _ = unescape(&bytes);
            let _ = decode_live(&bytes);
        }
    }
}
