//! The cluster's certificate authority, as the operator's tools use it: one self-signed Ed25519 root, kept offline.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
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

/// A private Ed25519 key as PKCS #8 of version 1 up to the key itself (RFC 8410 section 7). What ring and rcgen write
/// has the public key with it, in an encoding that OpenSSL does not read.
const PKCS8_V1: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// An authority with its private key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    cluster: ClusterName,
}

/// A new key and its certificate.
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
    #[error("the request cannot be signed: {0}")]
    Request(String),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("making the certificate: {0}")]
    Making(String),
}

impl Authority {
    /// A new root for `cluster`; returned with its certificate and key as PEM.
    pub fn create(cluster: &ClusterName, now: OffsetDateTime, days: u32) -> Result<(Self, Issued), AuthorityError> {
        let key = new_key()?;
        let mut params = validity(now, days)?;
        params.distinguished_name.push(DnType::CommonName, format!("{cluster} authority"));
        params.subject_alt_names = vec![uri(&format!("spiffe://{cluster}"))?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = params.self_signed(&key).map_err(making)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        let issued = Issued { certificate_pem: made.pem(), certificate: Certificate::from_der(made.der())?, key_pem };
        Ok((Self::open(&issued.certificate_pem, &issued.key_pem)?, issued))
    }

    /// An authority from its certificate and key.
    pub fn open(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let unusable = |error: &dyn std::fmt::Display| AuthorityError::Unusable(error.to_string());
        let certificate = Certificate::from_pem(certificate_pem.as_bytes())?;
        if !certificate.is_ca {
            return Err(unusable(&"the certificate is not an authority's"));
        }
        let domain = certificate.uri.as_deref().and_then(|uri| uri.strip_prefix("spiffe://"));
        let domain = domain.ok_or_else(|| unusable(&"the certificate names no trust domain"))?;
        let cluster = domain.parse().map_err(|error| unusable(&error))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| unusable(&error))?;
        if certificate.public_key.is_none_or(|public| public.as_bytes() != key.public_key_raw()) {
            return Err(unusable(&"the key does not belong to the certificate"));
        }
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(|error| unusable(&error))?;
        Ok(Self { issuer, certificate, cluster })
    }

    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// A new key with a certificate for `subject`.
    pub fn issue(&self, subject: &Subject, now: OffsetDateTime, days: u32) -> Result<Issued, AuthorityError> {
        let key = new_key()?;
        let made = self.params(subject, now, days)?.signed_by(&key, &self.issuer).map_err(making)?;
        Ok(Issued {
            certificate_pem: made.pem(),
            certificate: Certificate::from_der(made.der())?,
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
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
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(|error| AuthorityError::Request(error.to_string()))?;
        request.params = self.params(subject, now, days)?;
        let made = request.signed_by(&self.issuer).map_err(making)?;
        Ok((made.pem(), Certificate::from_der(made.der())?))
    }

    fn params(&self, subject: &Subject, now: OffsetDateTime, days: u32) -> Result<CertificateParams, AuthorityError> {
        let id = SpiffeId::new(&self.cluster, subject.clone());
        let mut params = validity(now, days)?;
        // A certificate beyond its authority's end would not verify then.
        params.not_after = params.not_after.min(self.certificate.not_after);
        params.distinguished_name.push(DnType::CommonName, subject.to_string());
        params.subject_alt_names = vec![uri(id.as_str())?];
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        match subject {
            // A signer's key must not open a connection, so it has no extended usage.
            Subject::Signer(_) => params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
            Subject::User(_) | Subject::Service { .. } | Subject::Node(_) => {
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            }
        }
        Ok(params)
    }
}

/// A new Ed25519 key whose serialized form every TLS library reads.
pub fn new_key() -> Result<KeyPair, AuthorityError> {
    let mut pkcs8 = Zeroizing::new([0; PKCS8_V1.len() + 32]);
    let (prefix, key) = pkcs8.split_at_mut(PKCS8_V1.len());
    prefix.copy_from_slice(&PKCS8_V1);
    SystemRandom::new().fill(key).map_err(|_| AuthorityError::Making("no random bytes".into()))?;
    KeyPair::try_from(pkcs8.as_slice()).map_err(making)
}

fn validity(now: OffsetDateTime, days: u32) -> Result<CertificateParams, AuthorityError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| AuthorityError::Making("no random bytes".into()))?;
    // Positive and of full length, as RFC 5280 wants it.
    serial[0] = (serial[0] & 0x3f) | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = now - BACKDATE;
    params.not_after = now + Duration::days(i64::from(days));
    Ok(params)
}

fn uri(text: &str) -> Result<SanType, AuthorityError> {
    text.try_into().map(SanType::URI).map_err(making)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn making(error: rcgen::Error) -> AuthorityError {
    AuthorityError::Making(error.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::PKCS_ED25519;
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
    fn keys_are_written_as_every_tls_library_reads_them() {
        let now = datetime!(2026-01-05 08:00 UTC);
        let (authority, root) = Authority::create(&"quay.test".parse().unwrap(), now, 10).unwrap();
        let node = authority.issue(&"node/pier2".parse().unwrap(), now, 10).unwrap();
        for issued in [root, node] {
            let (_, block) = x509_parser::pem::parse_x509_pem(issued.key_pem.as_bytes()).unwrap();
            assert_eq!((block.label.as_str(), block.contents.len()), ("PRIVATE KEY", 48));
            assert_eq!(block.contents[..16], PKCS8_V1);
            let read = KeyPair::from_pem(&issued.key_pem).unwrap();
            assert_eq!(issued.certificate.public_key.unwrap().as_bytes(), read.public_key_raw());
            if let Some(public) = openssl_public_key(&issued.key_pem) {
                assert_eq!(public.get(12..), Some(read.public_key_raw()), "behind 12 bytes that say Ed25519");
            }
        }
    }

    /// What OpenSSL makes of a private key, in DER; nothing where there is no OpenSSL.
    fn openssl_public_key(pem: &str) -> Option<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, pem).unwrap();
        let mut command = std::process::Command::new("openssl");
        let output = command.args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(path).output().ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(output.stdout)
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
    fn a_key_that_is_not_the_authority_s_is_refused() {
        let now = datetime!(2026-01-05 08:00 UTC);
        let (_, one) = Authority::create(&"quay.test".parse().unwrap(), now, 10).unwrap();
        let (_, two) = Authority::create(&"quay.test".parse().unwrap(), now, 10).unwrap();
        assert!(Authority::open(&one.certificate_pem, &two.key_pem).is_err());
    }
}
