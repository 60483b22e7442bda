//! The cluster's certificate authority, as the operator's tools use it: one self-signed Ed25519 root, kept offline.

use iam_ca::{
    CertificateRequest, KeyAlgorithm, Leaf, PrivateKey, RequestError, Root, Usage, Validity, certificates_pem,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{
    names::ClusterName,
    pki::{Certificate, CertificateError},
    spiffe::{SpiffeId, Subject},
};

/// How far a certificate's life begins before its issue, for clocks that are slow.
const BACKDATE: Duration = Duration::minutes(5);

/// The root signs the servers' authority, and that one signs whoever has no certificate of the root's own.
const LEVELS_BELOW: u8 = 1;

/// An authority with its private key.
pub struct Authority {
    signer: iam_ca::Authority,
    certificate: Certificate,
    cluster: ClusterName,
}

/// A key, new or renewed, and its new certificate.
pub struct Issued {
    pub certificate_pem: String,
    pub certificate: Certificate,
    /// PKCS #8 PEM.
    pub key_pem: Zeroizing<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the authority's key or certificate cannot be used: {0}")]
    Unusable(String),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Authority(#[from] iam_ca::AuthorityError),
    #[error("no random bytes")]
    Entropy,
    #[error("the key of {0} is no private key in PKCS #8 PEM")]
    HolderKey(Subject),
    /// What it certified would have ended already.
    #[error("the authority ended at {0}, so that nothing it certifies counts; see deploy/runbooks/signer-rotation.md")]
    Ended(OffsetDateTime),
}

impl Authority {
    /// A new root for `cluster`; returned with its certificate and key as PEM.
    pub fn create(cluster: &ClusterName, now: OffsetDateTime, days: u32) -> Result<(Self, Issued), AuthorityError> {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519)?;
        let key_pem = key.pem();
        let (common_name, uri) = (format!("{cluster} authority"), format!("spiffe://{cluster}"));
        let root = Root { organization: None, common_name: &common_name, uri: Some(&uri), below: LEVELS_BELOW };
        let signer = iam_ca::Authority::root(&root, key, validity(now, days)?)?;
        let certificate = Certificate::from_der(signer.der())?;
        let certificate_pem = certificates_pem([signer.der()]);
        let issued = Issued { certificate_pem, certificate: certificate.clone(), key_pem };
        Ok((Self { signer, certificate, cluster: cluster.clone() }, issued))
    }

    /// An authority from its certificate and key.
    pub fn open(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let certificate = Certificate::from_pem(certificate_pem.as_bytes())?;
        let signer = iam_ca::Authority::open(certificate.der(), PrivateKey::from_pem(key_pem)?)?;
        let domain = certificate.uri.as_deref().and_then(|uri| uri.strip_prefix("spiffe://"));
        let domain =
            domain.ok_or_else(|| AuthorityError::Unusable("the certificate names no trust domain".to_owned()))?;
        let cluster = domain.parse().map_err(|error| AuthorityError::Unusable(format!("{error}")))?;
        Ok(Self { signer, certificate, cluster })
    }

    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub fn certificate_pem(&self) -> String {
        certificates_pem([self.certificate.der()])
    }

    /// A new key with a certificate for `subject`.
    pub fn issue(&self, subject: &Subject, now: OffsetDateTime, days: u32) -> Result<Issued, AuthorityError> {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519)?;
        let (certificate_pem, certificate) = self.certify(&key.public_key_info(), subject, now, days)?;
        Ok(Issued { certificate_pem, certificate, key_pem: key.pem() })
    }

    /// Another certificate for a key (PKCS #8 PEM) that `subject` has already, for whoever knows the key.
    pub fn renew(
        &self,
        key_pem: &Zeroizing<String>,
        subject: &Subject,
        now: OffsetDateTime,
        days: u32,
    ) -> Result<Issued, AuthorityError> {
        let key = PrivateKey::from_pem(key_pem).map_err(|_| AuthorityError::HolderKey(subject.clone()))?;
        let public_key = key.public_key_info();
        let (certificate_pem, certificate) = self.certify(&public_key, subject, now, days)?;
        Ok(Issued { certificate_pem, certificate, key_pem: key_pem.clone() })
    }

    /// A certificate for the key of a PKCS #10 request. Only the key is taken from it: what it asks to be called does
    /// not matter. Returns the PEM.
    pub fn sign(
        &self,
        request_pem: &str,
        subject: &Subject,
        now: OffsetDateTime,
        days: u32,
    ) -> Result<(String, Certificate), AuthorityError> {
        self.certify(&CertificateRequest::from_pem(request_pem)?.public_key, subject, now, days)
    }

    /// The certificate of an authority below this one for the key of a PKCS #10 request: the servers', which may vouch
    /// for names of this cluster and for no further authority. Returns the PEM.
    pub fn intermediate(&self, request_pem: &str, now: OffsetDateTime, days: u32) -> Result<String, AuthorityError> {
        self.check_counts(now)?;
        let request = CertificateRequest::from_pem(request_pem)?;
        let (name, host) = (format!("{} identity", self.cluster), self.cluster.to_string());
        let made = self.signer.intermediate(&name, &host, &request.public_key, validity(now, days)?)?;
        Ok(certificates_pem([made.der.as_slice()]))
    }

    fn check_counts(&self, now: OffsetDateTime) -> Result<(), AuthorityError> {
        let end = self.certificate.not_after;
        if now < end { Ok(()) } else { Err(AuthorityError::Ended(end)) }
    }

    fn certify(
        &self,
        public_key: &[u8],
        subject: &Subject,
        now: OffsetDateTime,
        days: u32,
    ) -> Result<(String, Certificate), AuthorityError> {
        self.check_counts(now)?;
        let id = SpiffeId::new(&self.cluster, subject.clone());
        let usage = match subject {
            // A signer's key must not open a connection.
            Subject::Signer(_) => Usage::Documents,
            Subject::User(_) | Subject::Service { .. } | Subject::Node(_) => Usage::Peer,
        };
        let leaf = Leaf { common_name: &subject.to_string(), uri: id.as_str(), usage };
        let made = self.signer.certify(&leaf, public_key, validity(now, days)?)?;
        Ok((certificates_pem([made.der.as_slice()]), Certificate::from_der(&made.der)?))
    }
}

fn validity(now: OffsetDateTime, days: u32) -> Result<Validity, AuthorityError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| AuthorityError::Entropy)?;
    Ok(Validity { from: now - BACKDATE, until: now + Duration::days(i64::from(days)), serial })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ED25519};
    use time::macros::datetime;

    use super::*;
    use crate::artifact::SigningKey;

    #[test]
    fn what_it_issues_verifies_and_names_its_holder() {
        let now = datetime!(2026-01-05 08:00 UTC);
        let cluster = "quay.test".parse().unwrap();
        let (authority, root) = Authority::create(&cluster, now, 3650).unwrap();
        let subject: Subject = "management-plane/primary".parse().unwrap();
        let signer = authority.issue(&subject, now, 365).unwrap();
        assert_eq!(signer.certificate.spiffe_id().unwrap().subject(), &subject);
        assert!(signer.certificate.is_signed_by(&root.certificate));
        assert!(!root.certificate.is_signed_by(&signer.certificate));
        let key = SigningKey::from_pem(signer.certificate.spiffe_id().unwrap(), &signer.key_pem).unwrap();
        assert_eq!(Some(key.public_key().unwrap()), signer.certificate.public_key);
    }

    #[test]
    fn a_request_gives_its_key_and_nothing_else() {
        let now = datetime!(2026-01-05 08:00 UTC);
        let (authority, _) = Authority::create(&"quay.test".parse().unwrap(), now, 10).unwrap();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(vec!["evil.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        let (_, certificate) = authority.sign(&request, &"node/pier2".parse().unwrap(), now, 90).unwrap();
        assert_eq!(certificate.uri.as_deref(), Some("spiffe://quay.test/node/pier2"));
        assert!(!certificate.is_ca);
        assert_eq!(certificate.not_after, authority.certificate().not_after, "not beyond the authority's end");
        assert_eq!(certificate.public_key.unwrap().as_bytes(), key.public_key_raw());
    }

    #[test]
    fn a_renewed_certificate_is_for_the_same_key() {
        let now = datetime!(2026-01-05 08:00 UTC);
        let (authority, root) = Authority::create(&"quay.test".parse().unwrap(), now, 3650).unwrap();
        let subject: Subject = "management-plane/primary".parse().unwrap();
        let first = authority.issue(&subject, now, 365).unwrap();
        let later = now + Duration::days(400);
        let second = authority.renew(&first.key_pem, &subject, later, 365).unwrap();
        assert_eq!(second.certificate.public_key, first.certificate.public_key);
        assert_eq!(*second.key_pem, *first.key_pem);
        assert_eq!(second.certificate.not_after, later + Duration::days(365));
        assert!(second.certificate.is_signed_by(&root.certificate));
        let garbage = Zeroizing::new("x".to_owned());
        let refused = authority.renew(&garbage, &subject, later, 365);
        assert!(matches!(refused, Err(AuthorityError::HolderKey(of)) if of == subject));
    }

    #[test]
    fn an_authority_that_has_ended_certifies_nobody() {
        let now = datetime!(2026-01-05 08:00 UTC);
        let (authority, _) = Authority::create(&"quay.test".parse().unwrap(), now, 10).unwrap();
        let subject = "node/pier2".parse().unwrap();
        assert!(authority.issue(&subject, now + Duration::days(9), 90).is_ok());
        let late = authority.issue(&subject, now + Duration::days(10), 90);
        assert!(matches!(late, Err(AuthorityError::Ended(_))));
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        assert!(authority.intermediate(&request, now + Duration::days(9), 90).is_ok());
        let late = authority.intermediate(&request, now + Duration::days(10), 90);
        assert!(matches!(late, Err(AuthorityError::Ended(_))));
    }

    #[test]
    fn a_key_that_is_not_the_authority_s_is_refused() {
        let now = datetime!(2026-01-05 08:00 UTC);
        let (_, one) = Authority::create(&"quay.test".parse().unwrap(), now, 10).unwrap();
        let (_, two) = Authority::create(&"quay.test".parse().unwrap(), now, 10).unwrap();
        assert!(Authority::open(&one.certificate_pem, &two.key_pem).is_err());
    }

    #[test]
    fn the_servers_authority_stands_below_the_root_and_vouches_for_the_cluster_only() {
        let now = datetime!(2026-01-05 08:00 UTC);
        let now_ms = u64::try_from(now.unix_timestamp()).unwrap() * 1000;
        let (authority, root) = Authority::create(&"quay.test".parse().unwrap(), now, 3650).unwrap();
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let request = CertificateParams::default().serialize_request(&KeyPair::from_pem(&key.pem()).unwrap()).unwrap();
        let pem = authority.intermediate(&request.pem().unwrap(), now, 365).unwrap();
        let der = Certificate::from_pem(pem.as_bytes()).unwrap().der().to_vec();
        let servers = iam_ca::Authority::open(&der, key).unwrap();
        let of = |uri: &str| {
            let leaf = Leaf { common_name: "pier2", uri, usage: Usage::Client };
            let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
            let leaf = servers.certify(&leaf, &key.public_key_info(), validity(now, 1).unwrap()).unwrap();
            iam_ca::verify(&[&leaf.der, &der], &[root.certificate.der()], now_ms).map(|leaf| leaf.uris)
        };
        assert_eq!(of("spiffe://quay.test/node/pier2"), Ok(vec!["spiffe://quay.test/node/pier2".to_owned()]));
        assert_eq!(of("spiffe://dock.test/node/pier2"), Err(iam_ca::ChainFault::Constraint));
        assert!(servers.intermediate("x", "quay.test", &[], validity(now, 1).unwrap()).is_err());
    }
}
