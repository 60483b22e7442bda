//! The bytes behind the manifest: a row of frames, each with its number and a body that may be sealed.

use bytes::Bytes;
use holdfast_format::{Error as FormatError, from_compact, kind, to_compact};
use serde::{Deserialize, Serialize};

pub(crate) const V1: u16 = 1;

/// One frame behind the manifest.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartV1 {
    /// Counts from 1.
    pub(crate) number: u64,
    /// A compact [`BodyV1`], sealed in an encrypted backup.
    pub(crate) body: Bytes,
}

/// Variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BodyV1 {
    /// The group whose frames follow.
    Group(String),
    /// A frame of the group's state.
    Frame(Bytes),
    /// SHA-256 of every byte of the file before this part.
    End([u8; 32]),
}

impl PartV1 {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        to_compact(kind::BACKUP_PART, V1, self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        from_compact(kind::BACKUP_PART, V1, bytes)
    }
}

impl BodyV1 {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        to_compact(kind::BACKUP_BODY, V1, self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        from_compact(kind::BACKUP_BODY, V1, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_release_is_frozen() {
        let bodies =
            [BodyV1::Group("chainfire".into()), BodyV1::Frame(Bytes::from_static(b"frame")), BodyV1::End([7; 32])];
        let fixtures: Vec<String> = (1..)
            .zip(bodies)
            .map(|(number, body)| {
                let bytes = body.encode().unwrap();
                assert_eq!(BodyV1::decode(&bytes).unwrap(), body);
                let part = PartV1 { number, body: bytes.into() }.encode().unwrap();
                assert_eq!(PartV1::decode(&part).unwrap().number, number);
                hex::encode(part)
            })
            .collect();
        assert_eq!(
            fixtures,
            [
                "4846013100010000001be3c239bb01194846013200010000000b441b76420009636861696e66697265",
                "484601310001000000177ab09a5a02154846013200010000000795f03fe901056672616d65",
                "4846013100010000003120ba8c0d032f48460132000100000021227d2664020707070707070707070707070707070707070707070707070707070707070707"
            ]
        );
    }
}
