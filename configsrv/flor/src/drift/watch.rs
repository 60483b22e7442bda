use std::{
    collections::BTreeMap,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use configsrv_fleet::{Digest, Payload, artifact::DriftPolicy};
use rustix::process::geteuid;

use super::{
    Drift, DriftedFile,
    compare::{Expected, Found, compare},
};
use crate::{
    Error,
    activate::content,
    disk::{Disk, Kind, Stamp},
    machine::Target,
};

/// Looks at the files of one version again and again, and reads only what may have changed.
#[derive(Default)]
pub(crate) struct Watch {
    of: Option<Target>,
    policy: DriftPolicy,
    expected: Vec<Expected>,
    /// What was read, and how the file looked then.
    read: BTreeMap<String, (Stamp, Digest)>,
}

impl Watch {
    /// How the files of `target` are. Its payload is asked for only if it was not looked at last.
    pub(crate) fn look(
        &mut self,
        disk: &dyn Disk,
        target: Target,
        payload: impl FnOnce() -> Result<Payload, Error>,
    ) -> Result<Drift, Error> {
        if self.of != Some(target) {
            let payload = payload()?;
            let expected = payload.files.iter().map(|file| expected(disk, file)).collect::<Result<_, _>>()?;
            *self =
                Self { of: Some(target), policy: payload.drift.unwrap_or_default(), expected, read: BTreeMap::new() };
        }
        let now_s = now_s();
        let mut files = Vec::new();
        for expected in &self.expected {
            let found = find(disk, expected, &mut self.read, now_s);
            let faults = compare(expected, &found);
            if !faults.is_empty() {
                files.push(DriftedFile { path: expected.path.clone(), faults });
            }
        }
        Ok(Drift { policy: self.policy, files })
    }
}

fn expected(disk: &dyn Disk, file: &configsrv_fleet::artifact::File) -> Result<Expected, Error> {
    let (bytes, attributes) = content(disk, file)?;
    let (user, group) = match attributes.owner {
        Some((user, group)) => (Some(user), Some(group)),
        // Whom it belongs to by itself; the group may be the folder's.
        None => (Some(geteuid().as_raw()), None),
    };
    Ok(Expected {
        path: file.path.clone(),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        digest: Digest::of(&bytes),
        mode: attributes.mode,
        user,
        group,
    })
}

fn find(disk: &dyn Disk, expected: &Expected, read: &mut BTreeMap<String, (Stamp, Digest)>, now_s: i64) -> Found {
    let path = Path::new(&expected.path);
    let seen = match disk.look(path) {
        Ok(Some(seen)) => seen,
        Ok(None) => return Found::Missing,
        Err(error) => return Found::Hidden(error.to_string()),
    };
    match seen.kind {
        Kind::File => {}
        Kind::Folder => return Found::Other("a folder"),
        Kind::Link => return Found::Other("a link"),
        Kind::Other => return Found::Other("no regular file"),
    }
    let (size, mode, owner) = (seen.stamp.size, seen.attributes.mode, seen.attributes.owner);
    if size != expected.size {
        // Another content, however long it is.
        return Found::File { size, digest: None, mode, owner };
    }
    let digest = match read.get(&expected.path) {
        Some((stamp, digest)) if *stamp == seen.stamp => *digest,
        _ => {
            let digest = match disk.original(path) {
                Ok(Some((_, bytes))) => Digest::of(&bytes),
                Ok(None) => return Found::Missing,
                Err(error) => return Found::Hidden(error.to_string()),
            };
            read.remove(&expected.path);
            // What was changed just now may be changed again without looking any different.
            if seen.stamp.is_settled(now_s) {
                read.insert(expected.path.clone(), (seen.stamp, digest));
            }
            digest
        }
    };
    Found::File { size, digest: Some(digest), mode, owner }
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use configsrv_fleet::Version;
    use serde_json::json;

    use super::*;
    use crate::disk::RealDisk;

    fn target(number: u64) -> Target {
        Target { version: Version::new(number).unwrap(), digest: Digest::of(&number.to_be_bytes()) }
    }

    fn payload(path: &Path) -> Payload {
        let node = "spiffe://quay.test/node/pier2";
        serde_json::from_value(json!({
            "schema_version": "1.2", "node": "pier2", "labels": {}, "local_users": [], "local_services": [],
            "local_node": { "spiffe_id": node, "socks5_proxy": "127.0.0.1:1080" }, "ingress": [], "egress": [],
            "files": [{ "path": path, "mode": "0644", "content": { "text": "one" } }], "drift": "freeze",
            "trust": { "authorized_mgmt_signers": [] },
            "sync": {
                "via": "rete", "principal": node, "config_server": "spiffe://quay.test/service/config-server", "urls": [],
            },
        }))
        .unwrap()
    }

    /// On a real file system, where it is told apart by what the kernel says of a file.
    #[test]
    fn whatever_somebody_does_to_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop");
        let mut watch = Watch::default();
        let mut look = || {
            let drift = watch.look(&RealDisk, target(1), || Ok(payload(&path))).unwrap();
            assert_eq!(drift.policy, DriftPolicy::Freeze);
            drift.files.iter().map(ToString::to_string).collect::<String>()
        };
        let write = |text: &str| {
            let _ = fs::remove_file(&path);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        };
        let mut said = |faults: &str| {
            let expected = if faults.is_empty() { String::new() } else { format!("{}: {faults}", path.display()) };
            assert_eq!(look(), expected);
        };
        said("missing");
        write("one");
        said("");
        said("");
        // As long as before, and at once.
        fs::write(&path, "two").unwrap();
        said("another content");
        fs::write(&path, "one and more").unwrap();
        said("another content");
        write("one");
        said("");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        said("mode 0666 instead of 0644");
        write("one");
        fs::rename(&path, folder.path().join("moved")).unwrap();
        symlink(folder.path().join("moved"), &path).unwrap();
        said("is a link now");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        said("is a folder now");
        fs::remove_dir(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        said("is no regular file now");
    }

    #[test]
    fn what_looks_the_same_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let expected = expected(&RealDisk, &payload(&path).files[0]).unwrap();
        let name = path.display().to_string();
        let seen = RealDisk.look(&path).unwrap().unwrap();
        let mut read = BTreeMap::new();
        let late = now_s() + 60;
        find(&RealDisk, &expected, &mut read, now_s());
        assert!(read.is_empty(), "it was written just now");
        find(&RealDisk, &expected, &mut read, late);
        assert_eq!(read[&name], (seen.stamp, Digest::of(b"one")));
        // What is remembered is what is answered.
        read.insert(name, (seen.stamp, Digest::of(b"ten")));
        let found = find(&RealDisk, &expected, &mut read, late);
        assert!(matches!(found, Found::File { digest: Some(digest), .. } if digest == Digest::of(b"ten")), "{found:?}");
    }

    #[test]
    fn another_version_is_another_set_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let mut watch = Watch::default();
        let mut missing = |number, path: &Path| {
            let drift = watch.look(&RealDisk, target(number), || Ok(payload(path))).unwrap();
            drift.files.into_iter().map(|file| file.path).collect::<Vec<_>>()
        };
        assert_eq!(missing(1, &first), [first.display().to_string()]);
        assert_eq!(missing(1, &second), [first.display().to_string()], "it is not asked for again");
        assert_eq!(missing(2, &second), [second.display().to_string()]);
    }
}
