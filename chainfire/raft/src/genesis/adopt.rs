use std::collections::{BTreeMap, BTreeSet};

use super::Known;
use crate::{
    Error, RaftId, Slot,
    types::{Membership, Peer},
};

/// What a group's state says about this server before Raft looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing has been applied, or the state is that of this member.
    Usual,
    /// A restore has left it: entries without members.
    Restored,
}

/// Whether the state that `has_entries` and `has_members` describe may be used here.
pub(crate) fn look(known: &Known, has_entries: bool, has_members: bool) -> Result<Found, Error> {
    match (has_entries, has_members) {
        (false, _) => Ok(Found::Usual),
        (true, true) if known.formed().is_some() => Ok(Found::Usual),
        (true, true) => Err(Error::Refused(
            "the data folder has the state of a member, but not its identity and log: this is a part of a data \
             folder, and a server cannot run on it; see deploy/runbooks/backup-restore.md"
                .to_owned(),
        )),
        (true, false) if known.id().slot() == Slot(0) => Ok(Found::Restored),
        (true, false) => {
            let first = known.cluster().member(Slot(0)).map_or("", |member| member.name.as_str());
            Err(Error::Config(format!(
                "the data folder was filled by a restore, and the cluster begins where that is: start the first of \
                 the members, {first}, with it, and this one with an empty folder"
            )))
        }
    }
}

/// Why a restored folder cannot begin a cluster, in words about the restore.
pub(crate) fn not_alone(error: Error) -> Error {
    match error {
        Error::Refused(reason) => Error::Refused(format!(
            "this server's data folder was filled by a restore, but another member is not empty: all others begin \
             with empty folders ({reason})"
        )),
        other => other,
    }
}

/// The members of a formed cluster as voters.
pub(crate) fn voters(known: &Known) -> Result<Membership, Error> {
    let formed = known.formed().ok_or_else(|| Error::Raft("the cluster is not formed".into()))?;
    let peer = |id: &u64| Some((*id, Peer::from(known.cluster().member(RaftId::from_u64(*id).slot())?)));
    let nodes: BTreeMap<u64, Peer> = formed.members.iter().filter_map(peer).collect();
    let voters: BTreeSet<u64> = nodes.keys().copied().collect();
    Membership::new(vec![voters], nodes).map_err(|error| Error::Raft(error.to_string()))
}
