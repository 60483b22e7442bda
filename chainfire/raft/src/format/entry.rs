use bytes::Bytes;
use holdfast_format::{Error, from_compact, kind, to_compact};
use openraft::EntryPayload;
use serde::{Deserialize, Serialize};

use super::{LogIdV1, MembershipV1, V1};
use crate::types::{Command, Entry, Membership};

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryV1 {
    at: LogIdV1,
    payload: PayloadV1,
}

/// Variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum PayloadV1 {
    Blank,
    Command(Bytes),
    Membership(MembershipV1),
}

pub(crate) fn encode_entry(entry: &Entry) -> Result<Vec<u8>, Error> {
    to_compact(kind::LOG_ENTRY, V1, &EntryV1::from(entry))
}

pub(crate) fn decode_entry(bytes: &[u8]) -> Result<Entry, Error> {
    from_compact::<EntryV1>(kind::LOG_ENTRY, V1, bytes)?.into_entry()
}

impl From<&Entry> for EntryV1 {
    fn from(entry: &Entry) -> Self {
        let payload = match &entry.payload {
            EntryPayload::Blank => PayloadV1::Blank,
            EntryPayload::Normal(command) => PayloadV1::Command(command.0.clone()),
            EntryPayload::Membership(membership) => PayloadV1::Membership(membership.into()),
        };
        Self { at: LogIdV1::from(&entry.log_id), payload }
    }
}

impl EntryV1 {
    /// A method, because openraft's entry is generic and cannot have the conversion.
    pub(crate) fn into_entry(self) -> Result<Entry, Error> {
        let payload = match self.payload {
            PayloadV1::Blank => EntryPayload::Blank,
            PayloadV1::Command(bytes) => EntryPayload::Normal(Command(bytes)),
            PayloadV1::Membership(membership) => EntryPayload::Membership(Membership::try_from(membership)?),
        };
        Ok(Entry { log_id: self.at.into(), payload })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::types::{LogId, Peer};

    #[test]
    fn the_first_release_is_frozen() {
        let peer = Peer { name: "a".into(), address: "a:2380".into() };
        let membership = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, peer)])).unwrap();
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Command(Bytes::from_static(b"put"))),
            EntryPayload::Membership(membership),
        ];
        let fixtures = payloads.map(|payload| {
            let entry = Entry { log_id: LogId::new_term_index(3, 1000), payload };
            let bytes = encode_entry(&entry).unwrap();
            assert_eq!(decode_entry(&bytes).unwrap(), entry);
            hex::encode(&bytes)
        });
        assert_eq!(
            fixtures,
            [
                "484602010001000000044791f03303e80700",
                "48460201000100000008b5cac25c03e8070103707574",
                "484602010001000000127471939703e807020101010101016106613a32333830"
            ]
        );
    }
}
