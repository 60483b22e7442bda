//! Who is on this node, for the data plane: the cluster's root, and one file with certificate and key for each principal.
//! The certificate by which the *servers* know this node is another one, and lies elsewhere.

use std::path::{Path, PathBuf};

use configsrv_fleet::{
    ClusterName, Payload, SpiffeId, Subject,
    bundle::{Bundle, Secret, belongs},
    pki::Certificate,
};
use configsrv_rete::Identities;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    Error,
    disk::{Attributes, Disk, save},
    home::Layout,
};

const AUTHORITY: &str = "ca.crt";
const EXTENSION: &str = ".pem";

/// The folder of identities.
#[derive(Clone, Debug)]
pub(crate) struct IdentityStore {
    folder: PathBuf,
    cluster: ClusterName,
}

/// What is in the store, as of some moment.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub identities: Identities,
    /// Files that name nobody now, and why.
    pub faults: Vec<String>,
}

/// A certificate, as status shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct CertificateView {
    pub spiffe_id: String,
    pub until_ms: u64,
}

impl IdentityStore {
    pub(crate) fn new(layout: &Layout, cluster: ClusterName) -> Self {
        Self { folder: layout.identities(), cluster }
    }

    /// Everybody who can be shown to others now; `None` on a node that was never given a root, which has no data plane.
    pub(crate) fn load(&self, disk: &dyn Disk, now_ms: u64) -> Result<Option<Held>, Error> {
        let Some(root) = self.root(disk)? else { return Ok(None) };
        let mut held =
            Held { identities: Identities::new(self.cluster.clone(), root.der().to_vec()), faults: Vec::new() };
        let names = disk.list(&self.folder).map_err(|error| Error::file(&self.folder, &error))?;
        for name in names.iter().filter(|name| name.ends_with(EXTENSION) && !name.starts_with('.')) {
            let path = self.folder.join(name);
            let Some(bytes) = read(disk, &path)? else { continue };
            let added = match (CertificateDer::from_pem_slice(&bytes), PrivatePkcs8KeyDer::from_pem_slice(&bytes)) {
                (Ok(leaf), Ok(key)) => {
                    let added = held.identities.add(leaf.to_vec(), key.secret_pkcs8_der(), now_ms);
                    added.map(|_| ()).map_err(|error| error.to_string())
                }
                _ => Err("it is not a certificate and a key".to_owned()),
            };
            if let Err(why) = added {
                held.faults.push(format!("{name}: {why}"));
            }
        }
        Ok(Some(held))
    }

    /// Refuses a payload with somebody on this node whom the node cannot prove to be. A node without a root has no data
    /// plane, and nothing to prove.
    pub(crate) fn cover(&self, disk: &dyn Disk, payload: &Payload, now_ms: u64) -> Result<(), Error> {
        let Some(held) = self.load(disk, now_ms)? else { return Ok(()) };
        let here = |id: &SpiffeId| held.identities.holders().any(|holder| holder.id == *id);
        let services = payload.local_services.iter().map(|service| &service.spiffe_id);
        let mut missing: Vec<&SpiffeId> = std::iter::once(&payload.local_node.spiffe_id)
            .chain(payload.local_users.iter().map(|user| &user.spiffe_id))
            .chain(services)
            .filter(|id| !here(id))
            .collect();
        missing.sort();
        let names: Vec<String> = missing.iter().map(|id| id.subject().to_string()).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::Untrusted(format!(
            "this node has no certificate for {}: enrol it again, with a bundle of florctl issue-bundle",
            names.join(", ")
        )))
    }

    /// Takes over what a bundle brings. `waiting` finds keys that were made here for it; who has a key already keeps it
    /// if the bundle brings none. Nothing is written unless everybody in the bundle has a key.
    pub(crate) fn take(
        &self,
        disk: &dyn Disk,
        bundle: &Bundle,
        waiting: impl Fn(&Subject) -> Result<Option<Secret>, Error>,
    ) -> Result<(), Error> {
        let root = bundle.root()?;
        if self.root(disk)?.is_some_and(|trusted| trusted != root) {
            return Err(Error::Untrusted(format!(
                "the bundle is of another authority than the one in {}: a new authority means a new enrolment, from an \
                 empty folder",
                self.folder.display()
            )));
        }
        let mut files = Vec::new();
        for identity in &bundle.identities {
            let subject = identity.spiffe_id.subject();
            let certificate = identity.certificate().map_err(Error::Untrusted)?;
            let known = [identity.key.clone(), waiting(subject)?, self.key(disk, subject)?];
            let key = known.into_iter().flatten().find(|key| belongs(key.expose(), &certificate));
            let key = key.ok_or_else(|| {
                Error::Untrusted(format!(
                    "the bundle brings no key for {subject}, and the key that is certified is not here: the request was \
                     made elsewhere"
                ))
            })?;
            let text = Zeroizing::new(format!("{}\n{}\n", identity.certificate.trim_end(), key.expose().trim_end()));
            files.push((self.file(subject), text));
        }
        let put = |path: &Path, text: &str, attributes| {
            save(disk, path, text.as_bytes(), attributes).map_err(|error| Error::file(path, &error))
        };
        // The root last: with it the node has a data plane.
        for (path, text) in &files {
            put(path, text, Attributes::PRIVATE)?;
        }
        put(&self.folder.join(AUTHORITY), &bundle.authority, Attributes::PUBLIC)
    }

    fn root(&self, disk: &dyn Disk) -> Result<Option<Certificate>, Error> {
        let path = self.folder.join(AUTHORITY);
        let Some(bytes) = read(disk, &path)? else { return Ok(None) };
        let root = Certificate::from_pem(&bytes);
        root.map(Some).map_err(|error| Error::Unexpected(format!("{}: {error}", path.display())))
    }

    fn key(&self, disk: &dyn Disk, subject: &Subject) -> Result<Option<Secret>, Error> {
        let Some(bytes) = read(disk, &self.file(subject))?.map(Zeroizing::new) else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let key = text.find("-----BEGIN PRIVATE KEY-----").and_then(|at| text.get(at..));
        Ok(key.map(|key| Secret::new(Zeroizing::new(key.to_owned()))))
    }

    fn file(&self, subject: &Subject) -> PathBuf {
        self.folder.join(format!("{}{EXTENSION}", file_stem(subject)))
    }
}

impl Held {
    pub(crate) fn certificates(&self) -> Vec<CertificateView> {
        let view =
            |peer: configsrv_rete::Peer| CertificateView { spiffe_id: peer.id.to_string(), until_ms: peer.until_ms };
        let mut all: Vec<_> = self.identities.holders().map(view).collect();
        all.sort();
        all
    }
}

/// Names have no dots, so that no two subjects share a file.
pub(crate) fn file_stem(subject: &Subject) -> String {
    subject.to_string().replace('/', ".")
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    disk.read(path).map_err(|error| Error::file(path, &error))
}

#[cfg(test)]
mod tests {
    use configsrv_fleet::{
        bundle::{Identity, Servers},
        ca::Authority,
    };
    use time::OffsetDateTime;

    use super::*;
    use crate::disk::forgetful::ForgetfulDisk;

    struct Desk {
        authority: Authority,
        disk: ForgetfulDisk,
        store: IdentityStore,
    }

    impl Desk {
        fn new() -> Self {
            let cluster: ClusterName = "quay.test".parse().unwrap();
            let authority = Authority::create(&cluster, OffsetDateTime::now_utc(), 3650).unwrap().0;
            let store = IdentityStore::new(&Layout::at("/node"), cluster);
            Self { authority, disk: ForgetfulDisk::default(), store }
        }

        fn bundle(&self, subjects: &[&str]) -> Bundle {
            let (cluster, servers) = (self.authority.cluster().clone(), Servers::default());
            let root = self.authority.certificate_pem();
            let mut bundle = Bundle::new(cluster.clone(), "pier2".parse().unwrap(), root, Vec::new(), servers);
            for subject in subjects {
                let subject: Subject = subject.parse().unwrap();
                let issued = self.authority.issue(&subject, OffsetDateTime::now_utc(), 10).unwrap();
                let (spiffe_id, key) = (SpiffeId::new(&cluster, subject), Some(Secret::new(issued.key_pem)));
                bundle.identities.push(Identity { spiffe_id, certificate: issued.certificate_pem, key });
            }
            bundle
        }

        fn take(&self, bundle: &Bundle) -> Result<(), Error> {
            self.store.take(&self.disk, bundle, |_| Ok(None))
        }

        fn names(&self) -> Vec<String> {
            let now_ms = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap() * 1000;
            let held = self.store.load(&self.disk, now_ms).unwrap().unwrap();
            assert!(held.faults.is_empty(), "{:?}", held.faults);
            let short = |view: CertificateView| view.spiffe_id.replace("spiffe://quay.test/", "");
            held.certificates().into_iter().map(short).collect()
        }
    }

    #[test]
    fn what_a_bundle_brings_is_there_and_more_of_it_adds() {
        let desk = Desk::new();
        assert!(desk.store.load(&desk.disk, 0).unwrap().is_none());
        desk.take(&desk.bundle(&["node/pier2", "service/pier2/shell"])).unwrap();
        desk.take(&desk.bundle(&["service/pier2-shell", "node/pier2"])).unwrap();
        assert_eq!(desk.names(), ["node/pier2", "service/pier2-shell", "service/pier2/shell"]);
    }

    #[test]
    fn another_authority_and_missing_keys_change_nothing() {
        let (desk, other) = (Desk::new(), Desk::new());
        desk.take(&desk.bundle(&["node/pier2"])).unwrap();
        assert!(matches!(desk.take(&other.bundle(&["service/stock"])), Err(Error::Untrusted(_))));
        let mut keyless = desk.bundle(&["user/mira", "service/stock"]);
        keyless.identities[1].key = None;
        assert!(matches!(desk.take(&keyless), Err(Error::Untrusted(_))));
        assert_eq!(desk.names(), ["node/pier2"]);
    }

    #[test]
    fn a_key_that_stayed_here_is_found_again() {
        let desk = Desk::new();
        let mut bundle = desk.bundle(&["node/pier2"]);
        let key = bundle.identities[0].key.take();
        desk.store.take(&desk.disk, &bundle, |_| Ok(key.clone())).unwrap();
        // The same certificate once more, with the key that is in the store by now.
        desk.take(&bundle).unwrap();
        assert_eq!(desk.names(), ["node/pier2"]);
    }

    #[test]
    fn files_that_name_nobody_are_told_apart() {
        let desk = Desk::new();
        desk.take(&desk.bundle(&["node/pier2", "user/mira"])).unwrap();
        let path = desk.store.file(&"user/mira".parse().unwrap());
        save(&desk.disk, &path, b"x", Attributes::PRIVATE).unwrap();
        let now_ms = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap() * 1000;
        let held = desk.store.load(&desk.disk, now_ms).unwrap().unwrap();
        assert_eq!((held.certificates().len(), held.faults.len()), (1, 1));
        let ended = desk.store.load(&desk.disk, now_ms + 11 * 24 * 3600 * 1000).unwrap().unwrap();
        assert_eq!((ended.certificates().len(), ended.faults.len()), (0, 2));
    }
}
