//! What is in each bucket. Everything but keys and leases is small.

use chainfire_bolt::Pair;
use chainfire_core::{
    alarm::{self, Alarm, AlarmKind},
    kv::{self, Revision},
    lease::{self, Lease, LeaseId},
    table,
};
use chainfire_raft::View;
use holdfast_keyspace::{KeyRange, Order, Read as _};
use holdfast_proto::etcdserverpb::{AlarmMember, AlarmType};
use prost::Message as _;
use serde::Serialize;

use super::{About, LeaseRow, SnapshotError, name};

/// Leases that are read at a time.
const PAGE: usize = 1_000;

/// The rows of the user keyspace: they are stored as etcd stores them.
pub(super) fn keys(view: &View) -> impl Iterator<Item = Result<Pair, SnapshotError>> {
    let rows = view.scan(table::ROWS, KeyRange::all(), Order::Ascending);
    rows.map(|row| row.map_err(SnapshotError::from))
}

pub(super) fn leases(view: &View) -> impl Iterator<Item = Result<Pair, SnapshotError>> {
    let mut after = None;
    let pages = std::iter::from_fn(move || {
        let page = lease::leases(view, after, PAGE);
        after = page.as_ref().ok().and_then(|page| page.last()).map(|(id, _)| *id).or(after);
        match page {
            Ok(page) if page.is_empty() => None,
            Ok(page) => Some(Ok(page)),
            Err(halt) => Some(Err(halt.into())),
        }
    });
    let mut failed = false;
    let pages = pages.take_while(move |page| !std::mem::replace(&mut failed, page.is_err()));
    pages.flat_map(move |page: Result<Vec<(LeaseId, Lease)>, SnapshotError>| match page {
        Ok(page) => page.into_iter().map(|(id, lease)| row(view, id, &lease)).collect(),
        Err(error) => vec![Err(error)],
    })
}

fn row(view: &View, id: LeaseId, lease: &Lease) -> Result<Pair, SnapshotError> {
    let remaining_ttl = lease::remaining(view, id)?.unwrap_or(0);
    let row = LeaseRow { id: id.0, ttl: lease.ttl, remaining_ttl };
    Ok((id.0.to_be_bytes().to_vec(), row.encode_to_vec()))
}

/// Where the state is from, and how far its compaction is.
pub(super) fn meta(view: &View, about: &About) -> Result<Vec<Pair>, SnapshotError> {
    let at = view.position()?;
    let (term, index) = at.map_or((0, 0), |at| (at.term, at.index));
    let voters = about.members.iter().map(|member| member.id).collect();
    let mut pairs = vec![
        (name::CONF_STATE.to_vec(), json(&ConfState { voters, auto_leave: false })?),
        (name::CONSISTENT_INDEX.to_vec(), index.to_be_bytes().to_vec()),
        (name::TERM.to_vec(), term.to_be_bytes().to_vec()),
    ];
    pairs.extend(about.storage_version.map(|version| (name::STORAGE_VERSION.to_vec(), version.as_bytes().to_vec())));
    if let Some(compacted) = kv::compacted_revision(view)? {
        pairs.push((name::SCHEDULED_COMPACT.to_vec(), revision_bytes(compacted)));
        // Otherwise an etcd that starts with this goes on with the removal, as it does after a crash.
        if !kv::compaction_pending(view)? {
            pairs.push((name::FINISHED_COMPACT.to_vec(), revision_bytes(compacted)));
        }
    }
    pairs.sort();
    Ok(pairs)
}

pub(super) fn members(about: &About) -> Result<Vec<Pair>, SnapshotError> {
    let mut pairs = Vec::new();
    for member in &about.members {
        pairs.push((format!("{:x}", member.id).into_bytes(), json(member)?));
    }
    pairs.sort();
    Ok(pairs)
}

pub(super) fn cluster(about: &About) -> Vec<Pair> {
    vec![(name::CLUSTER_VERSION.to_vec(), about.cluster_version.as_bytes().to_vec())]
}

/// Each alarm is a key of its own.
pub(super) fn alarms(view: &View) -> Result<Vec<Pair>, SnapshotError> {
    let row = |alarm: Alarm| {
        let kind = match alarm.kind {
            AlarmKind::NoSpace => AlarmType::Nospace,
            AlarmKind::Corrupt => AlarmType::Corrupt,
        };
        let member = AlarmMember { member_id: alarm.member, alarm: kind.into() };
        (member.encode_to_vec(), Vec::new())
    };
    let mut pairs: Vec<Pair> = alarm::alarms(view)?.into_iter().map(row).collect();
    pairs.sort();
    Ok(pairs)
}

/// etcd's form of a revision whose sub is 0.
fn revision_bytes(revision: Revision) -> Vec<u8> {
    [&revision.0.to_be_bytes()[..], b"_", &[0; 8]].concat()
}

#[derive(Serialize)]
struct ConfState {
    voters: Vec<u64>,
    auto_leave: bool,
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, SnapshotError> {
    serde_json::to_vec(value).map_err(|error| SnapshotError::Other(error.to_string()))
}
