use crate::{Halt, kv::Revision};

/// Where a row is: the revision, and the number of the change within it. Sorts as its bytes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId {
    pub(crate) main: Revision,
    pub(crate) sub: i64,
}

const TOMBSTONE: u8 = b't';

impl RowId {
    /// etcd's key of the row: 8 bytes of main, `_`, 8 bytes of sub, and `t` if the row is a deletion.
    pub(crate) fn encode(self, tombstone: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(18);
        out.extend_from_slice(&self.main.0.to_be_bytes());
        out.push(b'_');
        out.extend_from_slice(&self.sub.to_be_bytes());
        if tombstone {
            out.push(TOMBSTONE);
        }
        out
    }

    /// The row's id and whether it is a deletion.
    pub(crate) fn decode(key: &[u8]) -> Result<(Self, bool), Halt> {
        let damaged = || Halt::damaged("a row's key is not a revision");
        let (main, rest) = key.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (separator, rest) = rest.split_first().ok_or_else(damaged)?;
        let (sub, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let id = Self { main: Revision(i64::from_be_bytes(*main)), sub: i64::from_be_bytes(*sub) };
        match (*separator, rest) {
            (b'_', []) => Ok((id, false)),
            (b'_', [TOMBSTONE]) => Ok((id, true)),
            _ => Err(damaged()),
        }
    }
}
