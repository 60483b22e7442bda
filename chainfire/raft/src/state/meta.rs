use holdfast_format::Error as FormatError;
use holdfast_keyspace::{Error, Read, Table};
use rocksdb::WriteBatch;

use super::{failed, generation::Generation};
use crate::{
    format::{decode_log_id, decode_membership, encode_log_id, encode_membership},
    types::{LogId, SnapshotMeta, StoredMembership},
};

/// The adapter's own table, beside the machine's.
pub(crate) const TABLE: Table = Table::new("raft");

const APPLIED: &[u8] = b"applied";
const MEMBERSHIP: &[u8] = b"membership";
const FIRST_COMMAND: &[u8] = b"first-command";

/// What the state is a state of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    /// Index of the first command ever applied; it tells whether genesis has happened.
    pub(crate) first_command: Option<u64>,
}

impl Meta {
    pub(crate) fn read(state: &dyn Read) -> Result<Self, Error> {
        let get = |key| state.get(TABLE, key);
        let damaged = |error: FormatError| failed(format_args!("the state's position is damaged: {error}"));
        let first_command = get(FIRST_COMMAND)?.map(|bytes| match <[u8; 8]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
            Err(_) => Err(damaged(FormatError::Short(bytes.len()))),
        });
        Ok(Self {
            applied: get(APPLIED)?.map(|bytes| decode_log_id(&bytes)).transpose().map_err(damaged)?,
            membership: get(MEMBERSHIP)?
                .map(|bytes| decode_membership(&bytes))
                .transpose()
                .map_err(damaged)?
                .unwrap_or_default(),
            first_command: first_command.transpose()?,
        })
    }

    /// Adds the position to a batch that carries the changes which lead to it.
    pub(crate) fn write(&self, generation: &Generation, batch: &mut WriteBatch) -> Result<(), Error> {
        let table = generation.table(TABLE)?;
        if let Some(applied) = &self.applied {
            batch.put_cf(&table, APPLIED, encode_log_id(applied).map_err(failed)?);
        }
        batch.put_cf(&table, MEMBERSHIP, encode_membership(&self.membership).map_err(failed)?);
        if let Some(index) = self.first_command {
            batch.put_cf(&table, FIRST_COMMAND, index.to_be_bytes());
        }
        Ok(())
    }

    /// Makes a state one of an entry, without members and without a first command: what it was in its old cluster is
    /// nothing to the next one.
    pub(crate) fn write_restored(at: LogId, generation: &Generation, batch: &mut WriteBatch) -> Result<(), Error> {
        batch.delete_cf(&generation.table(TABLE)?, FIRST_COMMAND);
        Self { applied: Some(at), ..Self::default() }.write(generation, batch)
    }

    pub(crate) fn has_members(&self) -> bool {
        self.membership.voter_ids().next().is_some()
    }

    pub(crate) fn snapshot_meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() }
    }
}
