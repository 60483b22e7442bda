use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use chainfire_backup::{Group, Manifest, Member, Writer};
use chainfire_core::{Halt, cluster, kv, system};
use chainfire_raft::View;

/// Why there is no backup. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error(transparent)]
    File(#[from] chainfire_backup::Error),
    #[error(transparent)]
    State(#[from] holdfast_keyspace::Error),
    #[error(transparent)]
    Unreadable(#[from] Halt),
    #[error("the cluster is not founded yet")]
    NotFounded,
}

/// Writes the backup that `views` are, frame by frame. Blocks.
pub(super) fn make<W: Write>(out: W, views: &[(&'static str, View)]) -> Result<(), BackupError> {
    let mut writer = Writer::begin(out, manifest(views)?, None)?;
    for (name, view) in views {
        if view.position()?.is_none() {
            continue;
        }
        writer.group(name)?;
        for frame in view.frames()? {
            writer.frame(frame?)?;
        }
    }
    writer.finish()?;
    Ok(())
}

fn manifest(views: &[(&'static str, View)]) -> Result<Manifest, BackupError> {
    let (_, own) = views.first().ok_or(BackupError::NotFounded)?;
    let genesis = cluster::genesis(own)?.ok_or(BackupError::NotFounded)?;
    let state = cluster::state(own)?.ok_or(BackupError::NotFounded)?;
    let mut groups = Vec::new();
    for (name, view) in views {
        let at = view.position()?;
        groups.extend(at.map(|at| Group { name: (*name).to_owned(), term: at.term, index: at.index }));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let member = |member: cluster::Member| Member { name: member.name, peer_urls: member.peer_urls };
    Ok(Manifest {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        created_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        cluster: genesis.cluster,
        members: genesis.members.into_iter().map(member).collect(),
        lineage: state.lineage,
        lineage_ordinal: state.lineage_ordinal,
        revision: kv::current_revision(own)?.0,
        compacted: kv::compacted_revision(own)?.map(|revision| revision.0),
        system_revision: system::current_revision(own)?,
        groups,
        encryption: None,
    })
}
