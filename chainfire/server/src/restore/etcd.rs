use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use chainfire_bolt::{Bucket, Pair, Reader};
use chainfire_core::{
    auth, cluster,
    kv::{self, Revision},
    lease::{self, LeaseId},
    table,
};
use chainfire_raft::{GroupConfig, Position, Restore, Restoring};
use holdfast_keyspace::Overlay;
use prost::Message as _;

use super::{
    RestoreError, Restored, Target,
    etcd_file::{self, Database},
};
use crate::snapshot::{LeaseRow, auth::EtcdAuth, name};

/// Bytes that are written at a time.
const BATCH: usize = 4 << 20;

const AUTH_NOTE: &str = "authentication is enabled in this etcd: a drop-in server asks for its users and passwords; \
                         beside IAM they mean nothing";

/// Restores an etcd's keys, their history, leases, users and roles from a file that `etcdctl snapshot save` wrote, or from the
/// `member/snap/db` of an etcd that does not run.
pub fn from_etcd(file: &Path, target: Target<'_>) -> Result<Restored, RestoreError> {
    let etcd_file::Opened { reader, checked } = etcd_file::open(file)?;
    let keys = reader.bucket(name::KEY)?.ok_or(RestoreError::NotEtcd("key"))?;
    let meta = Meta::read(&reader)?;
    let mut notes = Vec::new();
    if !checked {
        notes.push(
            "the file has no checksum; if it is the database of an etcd that was killed, the last writes may be in its \
             write-ahead log only"
                .to_owned(),
        );
    }
    let auth = EtcdAuth::read(&reader)?;
    if auth.status.enabled {
        notes.push(AUTH_NOTE.to_owned());
    }

    let restore = Restore::begin(target.data_dir)?;
    let config = GroupConfig::chainfire();
    let group = restore.group(&config, table::ALL)?;
    if let Some(leases) = reader.bucket(name::LEASE)? {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        load(&group, &reader, &leases, |state, (id, value)| take_lease(state, &id, &value, time_ms))?;
    }
    let mut newest = Revision::FRESH;
    load(&group, &reader, &keys, |state, (row, value)| {
        newest = kv::import(state, &row, value)?;
        Ok(())
    })?;
    let (revision, bumped) = group.change(|state: &mut Overlay<'_>| {
        auth::import(state, &auth.status, &auth.users, &auth.roles)?;
        kv::imported(state, newest, meta.compacted);
        cluster::prepare(state, target.bump, 0)?;
        let revision = kv::current_revision(state)?.0;
        Ok::<_, RestoreError>((revision, revision.saturating_add_unsigned(target.bump)))
    })?;
    // An etcd of before 3.5 does not say its term.
    group.finish(Position { index: meta.index.max(1), term: meta.term.max(1) })?;
    restore.finish()?;
    Ok(Restored { revision, bumped, groups: vec![config.name.to_owned()], notes })
}

/// Hands every pair of a bucket to `take`, in batches of bounded size.
fn load(
    group: &Restoring,
    reader: &Reader<Database>,
    bucket: &Bucket,
    mut take: impl FnMut(&mut Overlay<'_>, Pair) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let mut pairs = reader.pairs(bucket)?;
    let mut more = true;
    while more {
        more = group.change(|state: &mut Overlay<'_>| {
            let mut bytes = 0;
            while bytes < BATCH {
                let Some(pair) = pairs.next() else { return Ok(false) };
                let pair = pair?;
                bytes += pair.0.len() + pair.1.len() + 100;
                take(state, pair)?;
            }
            Ok::<_, RestoreError>(true)
        })?;
    }
    Ok(())
}

fn take_lease(state: &mut Overlay<'_>, id: &[u8], value: &[u8], time_ms: u64) -> Result<(), RestoreError> {
    let wrong = |_| RestoreError::Etcd("a lease cannot be read");
    let id = i64::from_be_bytes(id.try_into().map_err(wrong)?);
    let row = LeaseRow::decode(value).map_err(|_| RestoreError::Etcd("a lease cannot be read"))?;
    if row.id != id {
        return Err(RestoreError::Etcd("a lease says that it is another one"));
    }
    let remaining = Some(row.remaining_ttl).filter(|seconds| *seconds > 0);
    Ok(lease::import(state, LeaseId(id), row.ttl, remaining, time_ms)?)
}

/// What the bucket `meta` says.
struct Meta {
    index: u64,
    term: u64,
    compacted: Option<Revision>,
}

impl Meta {
    fn read(reader: &Reader<Database>) -> Result<Self, RestoreError> {
        let mut meta = Self { index: 0, term: 0, compacted: None };
        let Some(bucket) = reader.bucket(name::META)? else { return Ok(meta) };
        for pair in reader.pairs(&bucket)? {
            let (key, value) = pair?;
            match key.as_slice() {
                name::CONSISTENT_INDEX => meta.index = number(&value)?,
                name::TERM => meta.term = number(&value)?,
                name::SCHEDULED_COMPACT | name::FINISHED_COMPACT => {
                    let main = value.split_first_chunk::<8>().map(|(main, _)| i64::from_be_bytes(*main));
                    let main = main.ok_or(RestoreError::Etcd("the compacted revision cannot be read"))?;
                    meta.compacted = meta.compacted.max(Some(Revision(main)));
                }
                _ => {}
            }
        }
        Ok(meta)
    }
}

pub(crate) fn number(value: &[u8]) -> Result<u64, RestoreError> {
    let bytes = value.try_into().map_err(|_| RestoreError::Etcd("the position in the log cannot be read"))?;
    Ok(u64::from_be_bytes(bytes))
}
