use crate::kind::Kind;

const MAGIC: &[u8; 2] = b"HF";

/// Bytes before the payload.
pub const HEADER: usize = 14;

/// A decoded frame: the payload's format is (kind, version).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub version: u16,
    pub payload: &'a [u8],
}

/// Why stored bytes are not what they should be. Every case means damage or a newer release, never "absent".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0} bytes are too short for a frame")]
    Short(usize),
    #[error("the bytes do not begin with a frame")]
    Magic,
    #[error("expected kind {expected:#06x}, found {found:#06x}")]
    WrongKind { expected: u16, found: u16 },
    #[error("the checksum does not match: the bytes are damaged")]
    Checksum,
    #[error("{0} bytes follow the frame")]
    Trailing(usize),
    #[error("version {found} is newer than {supported}, the newest that this release reads")]
    Newer { found: u16, supported: u16 },
    #[error("the payload does not decode: {0}")]
    Payload(String),
}

/// Wraps `payload`, which must be shorter than 4 GiB.
pub fn encode(kind: Kind, version: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&kind.0.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&checksum(&out[2..], payload).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Unwraps a frame that fills `bytes`.
pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Frame<'_>, Error> {
    let (frame, rest) = decode_prefix(kind, bytes)?;
    if rest.is_empty() { Ok(frame) } else { Err(Error::Trailing(rest.len())) }
}

/// Unwraps the frame at the start of `bytes` and returns what follows it.
pub fn decode_prefix(kind: Kind, bytes: &[u8]) -> Result<(Frame<'_>, &[u8]), Error> {
    let (header, body) = bytes.split_first_chunk::<HEADER>().ok_or(Error::Short(bytes.len()))?;
    let [m0, m1, k0, k1, v0, v1, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if [m0, m1] != *MAGIC {
        return Err(Error::Magic);
    }
    let found = u16::from_be_bytes([k0, k1]);
    if found != kind.0 {
        return Err(Error::WrongKind { expected: kind.0, found });
    }
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let (payload, rest) = body.split_at_checked(length).ok_or(Error::Short(bytes.len()))?;
    if checksum(&header[2..10], payload) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Err(Error::Checksum);
    }
    Ok((Frame { version: u16::from_be_bytes([v0, v1]), payload }, rest))
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kind;

    #[test]
    fn the_first_release_is_frozen() {
        let bytes = encode(kind::COMMAND, 1, b"payload");
        assert_eq!(bytes, b"HF\x01\x01\x00\x01\x00\x00\x00\x07\xe4\x72\xae\x7epayload", "{bytes:02x?}");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(payload: Vec<u8>, at: usize, bit in 0u8..8) {
            let mut bytes = encode(kind::VOTE, 3, &payload);
            prop_assert_eq!(decode(kind::VOTE, &bytes).unwrap(), Frame { version: 3, payload: &payload });
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(kind::VOTE, &bytes).is_err());
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = decode_prefix(kind::VOTE, &bytes);
        }
    }
}
