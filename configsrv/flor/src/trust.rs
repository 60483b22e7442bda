//! Which authorities a node trusts, and how that follows the servers.

use configsrv_fleet::pki::Certificate;
use iam_ca::leads_to;
use rustls::pki_types::CertificateDer;

use crate::{
    Error,
    certificate::pem,
    disk::{Attributes, Disk, save},
    home::Layout,
    server::read_certificates,
};

/// The authorities of `ca.crt`, and which of them came with the servers' bundle: those go when the servers drop them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) brought: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// What an enrolment brings: the servers' bundle, and the authority of their TLS certificates, which somebody gave.
    pub(crate) fn enrolled(bundle: &[CertificateDer<'static>], given: Vec<CertificateDer<'static>>) -> Self {
        let given = Self { roots: given, brought: Vec::new() };
        given.with(bundle)
    }

    pub(crate) fn load(disk: &dyn Disk, layout: &Layout) -> Result<Self, Error> {
        let roots = read_certificates(disk, &layout.authorities())?;
        let brought = read_certificates(disk, &layout.brought())?;
        Ok(Self { roots, brought })
    }

    /// Writes what has changed since `before`. A crash in between leaves authorities that are trusted as before or as
    /// now, and each that came with a bundle known as such.
    pub(crate) fn save(&self, before: &Self, disk: &dyn Disk, layout: &Layout) -> Result<(), Error> {
        let mut known = before.brought.clone();
        known.extend(self.brought.iter().filter(|root| !before.brought.contains(root)).cloned());
        let steps = [
            (layout.brought(), &before.brought, &known),
            (layout.authorities(), &before.roots, &self.roots),
            (layout.brought(), &known, &self.brought),
        ];
        for (path, old, new) in steps {
            if old != new {
                let text: String = new.iter().map(|root| pem(root)).collect();
                save(disk, &path, text.as_bytes(), Attributes::PUBLIC).map_err(|error| Error::file(&path, &error))?;
            }
        }
        Ok(())
    }

    /// Whether a bundle is the servers' own, if it came over a connection to a server that is trusted: it has an authority
    /// in common with what is trusted already, or the certificate that came with it is of one that is; and it vouches for
    /// that certificate.
    pub(crate) fn believes(&self, bundle: &[CertificateDer<'_>], chain: &[&[u8]]) -> bool {
        let der = |roots: &[CertificateDer<'_>]| roots.iter().map(|root| root.to_vec()).collect::<Vec<_>>();
        let vouched = |roots: &[CertificateDer<'_>]| {
            let roots = der(roots);
            leads_to(chain, &roots.iter().map(Vec::as_slice).collect::<Vec<_>>()).is_ok()
        };
        let authorities = bundle.iter().all(|root| Certificate::from_der(root).is_ok_and(|root| root.is_ca));
        let common = bundle.iter().any(|root| self.roots.contains(root));
        authorities && vouched(bundle) && (common || vouched(&self.roots))
    }

    /// With authorities that somebody gave, beside the others.
    pub(crate) fn given(&self, given: Vec<CertificateDer<'static>>) -> Self {
        let mut next = self.clone();
        next.roots.extend(given.into_iter().filter(|root| !self.roots.contains(root)));
        next
    }

    /// With what a bundle has beside it, while certificates of both may be in use.
    pub(crate) fn with(&self, bundle: &[CertificateDer<'static>]) -> Self {
        let mut next = self.clone();
        for root in bundle {
            if !next.roots.contains(root) {
                next.roots.push(root.clone());
                next.brought.push(root.clone());
            }
        }
        next
    }

    /// Without what an earlier bundle brought and this one has not.
    pub(crate) fn without_dropped(&self, bundle: &[CertificateDer<'static>]) -> Self {
        let dropped = |root: &CertificateDer<'_>| self.brought.contains(root) && !bundle.contains(root);
        let kept = |roots: &[CertificateDer<'static>]| roots.iter().filter(|root| !dropped(root)).cloned().collect();
        Self { roots: kept(&self.roots), brought: kept(&self.brought) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iam_ca::{Authority, KeyAlgorithm, Leaf, PrivateKey, Root, Usage, Validity};
    use time::OffsetDateTime;

    use super::*;
    use crate::disk::forgetful::ForgetfulDisk;

    fn root(name: &str) -> Authority {
        let root = Root { organization: None, common_name: name, uri: None, below: 0 };
        Authority::root(&root, PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap(), validity()).unwrap()
    }

    fn validity() -> Validity {
        let from = OffsetDateTime::UNIX_EPOCH;
        Validity { from, until: from + Duration::from_secs(3600), serial: [1; 16] }
    }

    fn leaf(authority: &Authority) -> Vec<u8> {
        let leaf = Leaf { common_name: "pier2", uri: "spiffe://quay.test/node/pier2", usage: Usage::Client };
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().public_key_info();
        authority.certify(&leaf, &key, validity()).unwrap().der
    }

    fn der(authority: &Authority) -> CertificateDer<'static> {
        CertificateDer::from(authority.der().to_vec())
    }

    #[test]
    fn authorities_follow_the_bundle_and_what_a_person_gave_stays() {
        let [servers, first, second] = ["servers", "first", "second"].map(|name| der(&root(name)));
        let enrolled = Trust::enrolled(std::slice::from_ref(&first), vec![servers.clone()]);
        assert_eq!((enrolled.roots.len(), &enrolled.brought), (2, &vec![first.clone()]));
        let during = enrolled.with(&[first.clone(), second.clone()]);
        assert_eq!(during.roots, [servers.clone(), first.clone(), second.clone()]);
        assert_eq!(during.without_dropped(&[first.clone(), second.clone()]), during);
        let after = during.without_dropped(std::slice::from_ref(&second));
        assert_eq!((&after.roots, &after.brought), (&vec![servers.clone(), second.clone()], &vec![second.clone()]));
        let same = Trust::enrolled(std::slice::from_ref(&servers), vec![servers.clone()]);
        assert_eq!(same.with(std::slice::from_ref(&second)).without_dropped(&[second]).roots.first(), Some(&servers));
    }

    #[test]
    fn only_the_servers_own_bundle_is_believed() {
        let [old, new, other] = ["old", "new", "other"].map(root);
        let trust = Trust { roots: vec![der(&old)], brought: Vec::new() };
        let believes = |bundle: &[&Authority], certificate: &[u8]| {
            let bundle: Vec<_> = bundle.iter().map(|authority| der(authority)).collect();
            trust.believes(&bundle, &[certificate])
        };
        assert!(believes(&[&old, &new], &leaf(&new)) && believes(&[&old], &leaf(&old)));
        assert!(!believes(&[&new], &leaf(&new)), "nothing connects it with what is trusted");
        assert!(!believes(&[&old, &new], &leaf(&other)), "it does not vouch for the certificate");
        assert!(!believes(&[], &leaf(&old)) && !believes(&[&new], &leaf(&old)));
        let not_an_authority = CertificateDer::from(leaf(&old));
        assert!(!trust.believes(&[der(&old), not_an_authority], &[&leaf(&old)]));
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let (disk, layout) = (ForgetfulDisk::default(), Layout::at("/node"));
        assert_eq!(Trust::load(&disk, &layout).unwrap(), Trust::default());
        let [servers, first, second] = ["servers", "first", "second"].map(|name| der(&root(name)));
        let enrolled = Trust::enrolled(&[first], vec![servers]);
        enrolled.save(&Trust::default(), &disk, &layout).unwrap();
        assert_eq!(Trust::load(&disk, &layout).unwrap(), enrolled);
        let next = enrolled.with(std::slice::from_ref(&second)).without_dropped(&[second]);
        next.save(&enrolled, &disk, &layout).unwrap();
        assert_eq!(Trust::load(&disk, &layout).unwrap(), next);
    }
}
