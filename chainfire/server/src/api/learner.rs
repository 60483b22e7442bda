//! A member that comes back with a new disk has no vote yet, and may lack what was acknowledged long ago. Until it has
//! its vote, it answers what etcd's learners answer (§1.1): Status, serializable Range and Snapshot.

use crate::{Error, store::Store};

const ANSWERED: [&str; 3] =
    ["/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot", "/etcdserverpb.KV/Range"];

/// Refuses what a learner does not answer. Which ranges it does, the handler decides.
pub(super) fn answers(store: &Store, path: &str) -> Result<(), Error> {
    if !ANSWERED.contains(&path) && store.group().is_learner() { Err(Error::NotForLearner) } else { Ok(()) }
}
