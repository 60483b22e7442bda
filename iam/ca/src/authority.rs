use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{PrivateKey, constraints};

/// An authority with its private key.
pub struct Authority {
    issuer: Issuer<'static, rcgen::KeyPair>,
    der: Vec<u8>,
    not_after: OffsetDateTime,
}

/// When a certificate counts, and its number.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    pub from: OffsetDateTime,
    /// Shortened to the authority's own end: beyond that nothing verifies.
    pub until: OffsetDateTime,
    /// Random bytes.
    pub serial: [u8; 16],
}

/// What a root is called, and how many levels of authorities it may have below itself.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a> {
    pub organization: Option<&'a str>,
    pub common_name: &'a str,
    /// The domain that it is the root of.
    pub uri: Option<&'a str>,
    pub below: u8,
}

/// A certificate that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub der: Vec<u8>,
    /// Hex.
    pub serial: String,
    pub until: OffsetDateTime,
}

/// Whom a leaf is about.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a> {
    pub common_name: &'a str,
    /// The one name that counts.
    pub uri: &'a str,
    pub usage: Usage,
}

/// What a leaf's key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To show who connects.
    Client,
    /// The same from both sides of a connection.
    Peer,
    /// To sign documents; it opens no connection, so it has no extended usage.
    Documents,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error("the authority's key or certificate cannot be used: {0}")]
    Unusable(String),
    #[error("making the certificate: {0}")]
    Making(String),
}

impl AuthorityError {
    #[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
    pub(crate) fn making(error: impl ToString) -> Self {
        Self::Making(error.to_string())
    }

    #[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
    pub(crate) fn unusable(error: impl ToString) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// SHA-256 of a public key (SubjectPublicKeyInfo, DER) in hex: the id of an authority, and the name of a certified key.
pub fn certificate_id(public_key_info: &[u8]) -> String {
    hex::encode(digest(&SHA256, public_key_info))
}

impl Authority {
    /// A new root with its key.
    pub fn root(root: &Root<'_>, key: PrivateKey, validity: Validity) -> Result<Self, AuthorityError> {
        let mut params = authority(root.below, validity);
        if let Some(organization) = root.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.distinguished_name.push(DnType::CommonName, root.common_name);
        params.subject_alt_names = root.uri.map(san).transpose()?.into_iter().collect();
        let der = params.self_signed(&key.0).map_err(AuthorityError::making)?.der().to_vec();
        Self::open(&der, key)
    }

    /// An authority from its certificate (DER) and key.
    pub fn open(der: &[u8], key: PrivateKey) -> Result<Self, AuthorityError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(AuthorityError::unusable)?;
        if !certificate.is_ca() {
            return Err(AuthorityError::unusable("the certificate is not an authority's"));
        }
        if certificate.public_key().raw != key.public_key_info() {
            return Err(AuthorityError::unusable("the key does not belong to the certificate"));
        }
        let not_after = certificate.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(der), key.0).map_err(AuthorityError::unusable)?;
        Ok(Self { issuer, der: der.to_vec(), not_after })
    }

    /// Its certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// When it ends.
    pub fn until(&self) -> OffsetDateTime {
        self.not_after
    }

    /// See [`certificate_id`].
    pub fn id(&self) -> String {
        certificate_id(&self.issuer.key().subject_public_key_info())
    }

    /// The certificate of an authority below this one for `public_key` (SubjectPublicKeyInfo, DER), which issues
    /// leaves and nothing else, and only for URIs of `host`.
    pub fn intermediate(
        &self,
        common_name: &str,
        host: &str,
        public_key: &[u8],
        validity: Validity,
    ) -> Result<Signed, AuthorityError> {
        let (_, own) = X509Certificate::from_der(&self.der).map_err(AuthorityError::unusable)?;
        let constraints = own.basic_constraints().map_err(AuthorityError::unusable)?;
        if constraints.is_some_and(|constraints| constraints.value.path_len_constraint == Some(0)) {
            return Err(AuthorityError::unusable("no authority may stand below it: make another root"));
        }
        let mut params = authority(0, self.within(validity));
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.use_authority_key_identifier_extension = true;
        let mut extension = CustomExtension::from_oid_content(constraints::OID, constraints::permit_uris_of(host)?);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
        self.sign(params, public_key)
    }

    /// A certificate for `public_key` (SubjectPublicKeyInfo, DER).
    pub fn certify(&self, leaf: &Leaf<'_>, public_key: &[u8], validity: Validity) -> Result<Signed, AuthorityError> {
        let mut params = certificate(self.within(validity));
        params.distinguished_name.push(DnType::CommonName, leaf.common_name);
        params.subject_alt_names = vec![san(leaf.uri)?];
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        (params.key_usages, params.extended_key_usages) = match leaf.usage {
            Usage::Client => (vec![KeyUsagePurpose::DigitalSignature], vec![ExtendedKeyUsagePurpose::ClientAuth]),
            Usage::Peer => (
                vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment],
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            ),
            Usage::Documents => (vec![KeyUsagePurpose::DigitalSignature], Vec::new()),
        };
        self.sign(params, public_key)
    }

    fn sign(&self, params: CertificateParams, public_key: &[u8]) -> Result<Signed, AuthorityError> {
        let public_key = SubjectPublicKeyInfo::from_der(public_key).map_err(AuthorityError::making)?;
        let made = params.signed_by(&public_key, &self.issuer).map_err(AuthorityError::making)?;
        let serial = params.serial_number.map(|serial| hex::encode(serial.as_ref())).unwrap_or_default();
        Ok(Signed { der: made.der().to_vec(), serial, until: params.not_after })
    }

    fn within(&self, validity: Validity) -> Validity {
        Validity { until: validity.until.min(self.not_after), ..validity }
    }
}

fn authority(below: u8, validity: Validity) -> CertificateParams {
    let mut params = certificate(validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn certificate(validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(positive(validity.serial));
    params.not_before = validity.from;
    params.not_after = validity.until;
    params
}

/// Serial numbers are positive and of full length (RFC 5280 §4.1.2.2).
fn positive(mut serial: [u8; 16]) -> SerialNumber {
    serial[0] = (serial[0] & 0x3f) | 0x40;
    SerialNumber::from_slice(&serial)
}

fn san(uri: &str) -> Result<SanType, AuthorityError> {
    uri.try_into().map(SanType::URI).map_err(AuthorityError::making)
}
