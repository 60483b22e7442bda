use std::{
    fs, io,
    path::{Path, PathBuf},
};

use holdfast_format::{from_json, kind, to_json};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{Cluster, Error, Incarnation, RaftId, Slot, error::DAMAGED, network::FormedV1, state::replace_file};

const FILE: &str = "identity";
const V1: u16 = 1;

/// What this server knows of itself and its cluster, kept in `DIR/identity`. It is on disk before anybody is told.
pub(crate) struct Known {
    path: PathBuf,
    stored: Mutex<IdentityV1>,
    id: RaftId,
    cluster: Cluster,
    formed: watch::Sender<Option<FormedV1>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct IdentityV1 {
    slot: Slot,
    name: String,
    incarnation: Incarnation,
    /// What the configuration said at the first start.
    cluster: Cluster,
    /// SHA-256 of `cluster`, for a quick look.
    digest: String,
    #[serde(default)]
    formed: Option<Formed>,
    /// What the log must have at least; see `witness`.
    #[serde(default, skip_serializing_if = "is_none")]
    mark: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(mark: &u64) -> bool {
    *mark == 0
}

/// Set once the server is part of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Formed {
    cluster: Uuid,
    members: Vec<u64>,
}

impl Known {
    /// Reads the identity, or draws one for an empty folder. A folder with data in it but no identity is not empty.
    pub(crate) fn open(data_dir: &Path, cluster: Cluster, name: &str) -> Result<Self, Error> {
        let slot = cluster.validate(name)?;
        let path = data_dir.join(FILE);
        let stored = match fs::read(&path) {
            Ok(bytes) => check(&path, &bytes, &cluster, slot, name)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(data_dir, &path, &cluster, slot, name)?,
            Err(error) => return Err(Error::Io { path, error }),
        };
        if stored.formed.is_some() && !data_dir.join("log").join("CURRENT").exists() {
            let message = format!("this server is part of a cluster, but its Raft log is gone. {DAMAGED}");
            return Err(Error::Corrupt { path: data_dir.join("log"), message });
        }
        let formed = stored.formed.as_ref().map(Formed::to_wire);
        let id = RaftId::new(slot, stored.incarnation);
        Ok(Self { path, id, cluster, stored: Mutex::new(stored), formed: watch::Sender::new(formed) })
    }

    pub(crate) fn id(&self) -> RaftId {
        self.id
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn formed(&self) -> Option<FormedV1> {
        self.formed.borrow().clone()
    }

    /// Whether this server is part of a cluster that began with another disk in its slot.
    pub(crate) fn has_rejoined(&self) -> bool {
        self.formed.borrow().as_ref().is_some_and(|formed| !formed.members.contains(&self.id.to_u64()))
    }

    /// The cluster's first members.
    pub(crate) fn founders(&self) -> impl Iterator<Item = RaftId> {
        self.formed().into_iter().flat_map(|formed| formed.members).map(RaftId::from_u64)
    }

    /// Remembers for ever that this server is part of a cluster.
    pub(crate) fn form(&self, formed: &FormedV1) -> Result<(), Error> {
        let members = formed.members.clone();
        self.change(|next| next.formed = Some(Formed { cluster: Uuid::from_bytes(formed.cluster), members }))?;
        self.formed.send_replace(Some(formed.clone()));
        Ok(())
    }

    /// The last mark that the log is known to have on disk.
    pub(crate) fn mark(&self) -> u64 {
        self.stored.lock().mark
    }

    pub(crate) fn note_mark(&self, mark: u64) -> Result<(), Error> {
        self.change(|next| next.mark = mark)
    }

    fn change(&self, change: impl FnOnce(&mut IdentityV1)) -> Result<(), Error> {
        let mut stored = self.stored.lock();
        let mut next = stored.clone();
        change(&mut next);
        write(&self.path, &next)?;
        *stored = next;
        Ok(())
    }
}

impl Formed {
    fn to_wire(&self) -> FormedV1 {
        FormedV1 { cluster: *self.cluster.as_bytes(), members: self.members.clone() }
    }
}

fn check(path: &Path, bytes: &[u8], cluster: &Cluster, slot: Slot, name: &str) -> Result<IdentityV1, Error> {
    let stored: IdentityV1 = from_json(kind::IDENTITY, V1, bytes).map_err(|error| Error::damaged(path, &error))?;
    let difference = cluster.difference(&stored.cluster, "in the data folder").or_else(|| {
        let (name, other) = (&stored.name, stored.slot);
        (other != slot)
            .then(|| format!("this server is {name} (slot {other}) in the data folder, and slot {slot} here"))
    });
    match difference {
        None => Ok(stored),
        Some(difference) if stored.formed.is_some() => Err(Error::Membership(difference)),
        // Nothing is decided yet: what an earlier start has noted may be the mistake that this one corrects.
        Some(difference) => {
            tracing::info!(difference, "the configuration has changed before the cluster is formed");
            let digest = hex::encode(cluster.digest());
            let next = IdentityV1 { slot, name: name.to_owned(), cluster: cluster.clone(), digest, ..stored };
            write(path, &next)?;
            Ok(next)
        }
    }
}

fn create(data_dir: &Path, path: &Path, cluster: &Cluster, slot: Slot, name: &str) -> Result<IdentityV1, Error> {
    if data_dir.join("log").exists() {
        let message = format!(
            "the identity is missing, but there is a Raft log: this folder was not made by this release, or a file \
             was deleted. {DAMAGED}"
        );
        return Err(Error::Corrupt { path: path.to_owned(), message });
    }
    let incarnation = Incarnation::draw().map_err(|error| Error::Config(format!("no randomness: {error}")))?;
    let identity = IdentityV1 {
        slot,
        name: name.to_owned(),
        incarnation,
        cluster: cluster.clone(),
        digest: hex::encode(cluster.digest()),
        formed: None,
        mark: 0,
    };
    write(path, &identity)?;
    Ok(identity)
}

fn write(path: &Path, identity: &IdentityV1) -> Result<(), Error> {
    let bytes = to_json(kind::IDENTITY, V1, identity);
    let bytes = bytes.map_err(|error| Error::Corrupt { path: path.to_owned(), message: error.to_string() })?;
    replace_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single() -> Cluster {
        Cluster::single("a", "a:2380")
    }

    #[test]
    fn the_incarnation_stays_with_the_folder() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = Known::open(one.path(), single(), "a").unwrap().id();
        assert_eq!(Known::open(one.path(), single(), "a").unwrap().id(), id);
        assert_ne!(Known::open(other.path(), single(), "a").unwrap().id(), id);
    }

    #[test]
    fn another_membership_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let typo = Cluster::single("a", "c:2380");
        let id = Known::open(folder.path(), typo, "a").unwrap().id();
        // Before there is a cluster the configuration decides.
        let known = Known::open(folder.path(), single(), "a").unwrap();
        assert_eq!((known.id(), known.cluster()), (id, &single()));
        known.form(&FormedV1 { cluster: [1; 16], members: vec![id.to_u64()] }).unwrap();
        let log = folder.path().join("log");
        fs::create_dir(&log).unwrap();
        fs::write(log.join("CURRENT"), "").unwrap();

        let moved = Cluster::single("a", "b:2380");
        let error = Known::open(folder.path(), moved, "a").err().unwrap();
        assert!(error.to_string().contains("slot 0 is a at b:2380 here and a at a:2380 in the data folder"), "{error}");
    }

    #[test]
    fn a_member_without_its_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let known = Known::open(folder.path(), single(), "a").unwrap();
        known.form(&FormedV1 { cluster: [1; 16], members: vec![known.id().to_u64()] }).unwrap();
        let error = Known::open(folder.path(), single(), "a").err().unwrap();
        assert!(error.to_string().contains("its Raft log is gone"), "{error}");
    }

    #[test]
    fn the_first_release_is_frozen() {
        let json = r#"{"slot":0,"name":"a","incarnation":7,"cluster":{"token":"t","members":[{"name":"a","address":"a:2380"}]},"digest":"00","formed":{"cluster":"01010101-0101-0101-0101-010101010101","members":[7]}}"#;
        let bytes = holdfast_format::encode(kind::IDENTITY, V1, json.as_bytes());
        let identity: IdentityV1 = from_json(kind::IDENTITY, V1, &bytes).unwrap();
        assert_eq!(to_json(kind::IDENTITY, V1, &identity).unwrap(), bytes);
        let marked = json.replace(r#"[7]}}"#, r#"[7]},"mark":3}"#);
        let marked = holdfast_format::encode(kind::IDENTITY, V1, marked.as_bytes());
        assert_eq!(to_json(kind::IDENTITY, V1, &IdentityV1 { mark: 3, ..identity }).unwrap(), marked);
    }
}
