use bytes::Bytes;
use holdfast_format::{Error, from_compact, kind, to_compact};
use serde::{Deserialize, Serialize};

use super::{LogIdV1, StoredMembershipV1, V1};

/// A snapshot is a sequence of frames: one header, chunks in table and key order, one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PartV1 {
    Header(HeaderV1),
    Chunk(ChunkV1),
    End(EndV1),
}

/// What the state is a state of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeaderV1 {
    pub(crate) applied: LogIdV1,
    pub(crate) membership: StoredMembershipV1,
    /// Index of the first command ever applied.
    pub(crate) first_command: Option<u64>,
    pub(crate) tables: Vec<String>,
}

/// Pairs of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkV1 {
    /// Position in the header's list of tables.
    pub(crate) table: u32,
    pub(crate) pairs: Vec<(Bytes, Bytes)>,
}

/// Proves that nothing is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndV1 {
    pub(crate) pairs: u64,
    /// SHA-256 over all frames before this one.
    pub(crate) digest: [u8; 32],
}

pub(crate) fn encode_part(part: &PartV1) -> Result<Vec<u8>, Error> {
    to_compact(kind::SNAPSHOT, V1, part)
}

pub(crate) fn decode_part(bytes: &[u8]) -> Result<PartV1, Error> {
    from_compact(kind::SNAPSHOT, V1, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogId, StoredMembership};

    #[test]
    fn the_first_release_is_frozen() {
        let header = HeaderV1 {
            applied: LogIdV1::from(&LogId::new_term_index(2, 9)),
            membership: StoredMembershipV1::from(&StoredMembership::default()),
            first_command: Some(2),
            tables: vec!["keys".into()],
        };
        let chunk = ChunkV1 { table: 0, pairs: vec![(Bytes::from_static(b"k"), Bytes::from_static(b"v"))] };
        let parts = [PartV1::Header(header), PartV1::Chunk(chunk), PartV1::End(EndV1 { pairs: 1, digest: [7; 32] })];
        let fixtures = parts.map(|part| {
            let bytes = encode_part(&part).unwrap();
            assert_eq!(decode_part(&bytes).unwrap(), part);
            hex::encode(&bytes)
        });
        assert_eq!(
            fixtures,
            [
                "4846020500010000000e824e2021000209000000010201046b657973",
                "484602050001000000076b5fcebc010001016b0176",
                "484602050001000000226c72454902010707070707070707070707070707070707070707070707070707070707070707"
            ]
        );
    }
}
