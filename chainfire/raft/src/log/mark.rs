use std::{io, sync::mpsc};

use holdfast_format::{from_compact, kind, to_compact};

use super::{
    db::{LogDb, Synced},
    disk::{Change, Disk as _, Family, damaged, meta},
    key::{self, Meta},
};
use crate::GroupId;

const V1: u16 = 1;

/// It belongs to no group.
const ALL: GroupId = GroupId(0);

impl LogDb {
    /// The last number that [`LogDb::set_mark`] has written; 0 in a new log.
    pub(crate) fn mark(&self) -> io::Result<u64> {
        let Some(bytes) = meta(self, ALL, Meta::Mark)? else { return Ok(0) };
        from_compact(kind::LOG_MARK, V1, &bytes).map_err(|error| damaged(format!("the mark: {error}")))
    }

    /// Writes `mark`, and returns when it and everything before it are on disk. Blocks.
    pub(crate) fn set_mark(&self, mark: u64) -> io::Result<()> {
        let bytes = to_compact(kind::LOG_MARK, V1, &mark).map_err(io::Error::other)?;
        self.write(vec![Change::Put(Family::Meta, key::meta(ALL, Meta::Mark), bytes)])?;
        let (done, synced) = mpsc::channel();
        self.enqueue(Synced::Mark(done));
        synced.recv().map_err(io::Error::other)?
    }
}
