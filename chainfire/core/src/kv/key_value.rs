use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Halt,
    kv::{Revision, varint},
    lease::LeaseId,
};

/// A stored pair. Its stored form is the `mvccpb.KeyValue` message of the etcd API (proto3: zero fields left out,
/// fields in number order), so that hashes over stored rows equal etcd's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    pub key: Bytes,
    /// The revision of the put that made the key (again).
    pub create_revision: Revision,
    /// The revision of the last put.
    pub mod_revision: Revision,
    /// Puts since the key was made: 1 for a new key.
    pub version: i64,
    pub value: Bytes,
    pub lease: LeaseId,
}

const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

impl KeyValue {
    /// The row of a deletion: nothing but the key.
    pub fn tombstone(key: Bytes) -> Self {
        Self { key, ..Self::default() }
    }

    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.key.len() + self.value.len() + 48);
        put_bytes(&mut out, 1, &self.key);
        put_int(&mut out, 2, self.create_revision.0);
        put_int(&mut out, 3, self.mod_revision.0);
        put_int(&mut out, 4, self.version);
        put_bytes(&mut out, 5, &self.value);
        put_int(&mut out, 6, self.lease.0);
        out
    }

    /// Reads the message; key and value share `message`'s memory.
    pub fn decode(message: &Bytes) -> Result<Self, Halt> {
        Self::read(message).ok_or_else(|| Halt::damaged("a stored pair is not a KeyValue message"))
    }

    fn read(message: &Bytes) -> Option<Self> {
        let mut kv = Self::default();
        let mut at = 0;
        while at < message.len() {
            let tag = varint::take(message, &mut at)?;
            let number = varint::take(message, &mut at)?;
            match (tag >> 3, tag & 7) {
                (1, LENGTH_DELIMITED) => kv.key = slice(message, &mut at, number)?,
                (2, VARINT) => kv.create_revision = Revision(number.cast_signed()),
                (3, VARINT) => kv.mod_revision = Revision(number.cast_signed()),
                (4, VARINT) => kv.version = number.cast_signed(),
                (5, LENGTH_DELIMITED) => kv.value = slice(message, &mut at, number)?,
                (6, VARINT) => kv.lease = LeaseId(number.cast_signed()),
                _ => return None,
            }
        }
        Some(kv)
    }
}

fn put_int(out: &mut Vec<u8>, field: u64, value: i64) {
    if value != 0 {
        varint::put(out, field << 3 | VARINT);
        varint::put(out, value.cast_unsigned());
    }
}

fn put_bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    if !value.is_empty() {
        varint::put(out, field << 3 | LENGTH_DELIMITED);
        varint::put(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

fn slice(message: &Bytes, at: &mut usize, length: u64) -> Option<Bytes> {
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    if end > message.len() {
        return None;
    }
    let start = std::mem::replace(at, end);
    Some(message.slice(start..end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_fields_are_left_out() {
        assert_eq!(KeyValue::tombstone(Bytes::from_static(b"k")).encode(), b"\x0a\x01k");
        let kv = KeyValue {
            key: Bytes::from_static(b"k"),
            create_revision: Revision(2),
            mod_revision: Revision(300),
            version: 1,
            value: Bytes::from_static(b"v"),
            lease: LeaseId(-1),
        };
        let bytes = kv.encode();
        assert_eq!(
            bytes,
            b"\x0a\x01k\x10\x02\x18\xac\x02\x20\x01\x2a\x01v\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
        );
        assert_eq!(KeyValue::decode(&bytes.into()).unwrap(), kv);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = KeyValue::decode(&bytes.into());
        }

        #[test]
        fn survives(key: Vec<u8>, value: Vec<u8>, numbers: [i64; 4]) {
            let [create, modified, version, lease] = numbers;
            let kv = KeyValue {
                key: key.into(),
                create_revision: Revision(create),
                mod_revision: Revision(modified),
                version,
                value: value.into(),
                lease: LeaseId(lease),
            };
            prop_assert_eq!(KeyValue::decode(&kv.encode().into()).unwrap(), kv);
        }
    }
}
