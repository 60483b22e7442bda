//! The example fleet with certificates, in memory.
#![allow(dead_code, reason = "each test file uses its own part")]

use configsrv_fleet::{
    Finding, Fleet, Repo, Selection, SigningKey, Stamp, Version,
    ca::Authority,
    load_from,
    provision::{self, file_stem},
    repo::{Folder, Memory, Source as _},
    validate,
};
use time::{OffsetDateTime, macros::datetime};

pub(crate) const NOW: OffsetDateTime = datetime!(2026-01-05 08:00 UTC);

pub(crate) struct Quay {
    pub(crate) files: Memory,
    pub(crate) key: SigningKey,
}

impl Quay {
    pub(crate) fn new() -> Self {
        Self::from(example())
    }

    /// Certificates for whoever is in `files`.
    pub(crate) fn from(mut files: Memory) -> Self {
        let (authority, root) = Authority::create(&"quay.test".parse().unwrap(), NOW, 3650).unwrap();
        files = files.with("ca.crt", root.certificate_pem);
        let key = issue(&mut files, &authority);
        Self { files, key }
    }

    /// With `from` replaced by `to` in `file`. Certificates stay as they are.
    pub(crate) fn edited(&self, file: &str, from: &str, to: &str) -> Memory {
        let text = String::from_utf8(self.files.files[file].clone()).unwrap();
        assert!(text.contains(from), "{file} does not contain {from:?}");
        self.files.clone().with(file, text.replacen(from, to, 1))
    }

    pub(crate) fn fleet(&self) -> Fleet {
        fleet(&self.files)
    }

    pub(crate) fn stamp(&self) -> Stamp<'_> {
        Stamp { generated_at: NOW, key: Some(&self.key), above: Version::NONE }
    }
}

pub(crate) fn example() -> Memory {
    let folder = Folder::new("examples/quay");
    let mut files = Memory::default();
    for path in folder.list().unwrap() {
        let bytes = folder.read(&path).unwrap().unwrap();
        files.files.insert(path, bytes);
    }
    files
}

/// Certificates of `authority` for everybody; the signer's key.
pub(crate) fn issue(files: &mut Memory, authority: &Authority) -> SigningKey {
    let made = provision::issue_missing(&repo(files), authority, NOW, "mira", |_| Ok(None)).unwrap();
    files.files.insert("enrollment.log".into(), made.log_lines.into_bytes());
    let mut key = None;
    for holder in made.holders {
        if let Some(path) = &holder.repository_path {
            files.files.insert(path.clone(), holder.issued.certificate_pem.clone().into_bytes());
            assert_eq!(file_stem(&holder.subject), "management-plane-primary");
            let id = holder.issued.certificate.spiffe_id().unwrap();
            key = Some(SigningKey::from_pem(id, &holder.issued.key_pem).unwrap());
        }
    }
    key.unwrap()
}

pub(crate) fn repo(files: &Memory) -> Repo {
    load_from(files, &Selection::Discover).unwrap()
}

pub(crate) fn findings(files: &Memory) -> Vec<Finding> {
    validate(&repo(files), NOW)
}

pub(crate) fn fleet(files: &Memory) -> Fleet {
    Fleet::new(&repo(files)).unwrap()
}
