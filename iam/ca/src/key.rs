use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls_pki_types::PrivatePkcs8KeyDer;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use crate::{AuthorityError, certificate_id, pem::pem};

/// A private Ed25519 key as PKCS #8 of version 1 up to the key itself (RFC 8410 section 7). What ring and rcgen write
/// has the public key with it, in an encoding that OpenSSL does not read.
const ED25519_PKCS8_V1: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

const ED25519: &str = "1.3.101.112";
const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";

/// The kinds of keys that are certified here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    Ed25519,
    P256,
}

/// A private key of one of these kinds.
pub struct PrivateKey(pub(crate) KeyPair);

impl KeyAlgorithm {
    /// Of a certified key; none if it is not one of ours.
    pub(crate) fn of(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        match (info.algorithm.algorithm.to_id_string().as_str(), curve.map(|oid| oid.to_id_string()).as_deref()) {
            (ED25519, None) => Some(Self::Ed25519),
            (EC, Some(P256)) => Some(Self::P256),
            _ => None,
        }
    }
}

impl PrivateKey {
    /// A new key whose serialized form every TLS library reads.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, AuthorityError> {
        if algorithm == KeyAlgorithm::P256 {
            return Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::making)?));
        }
        let mut pkcs8 = Zeroizing::new([0; ED25519_PKCS8_V1.len() + 32]);
        let (prefix, key) = pkcs8.split_at_mut(ED25519_PKCS8_V1.len());
        prefix.copy_from_slice(&ED25519_PKCS8_V1);
        SystemRandom::new().fill(key).map_err(|_| AuthorityError::Making("no random bytes".into()))?;
        Ok(Self(KeyPair::try_from(pkcs8.as_slice()).map_err(AuthorityError::making)?))
    }

    /// From PKCS #8.
    pub fn from_der(pkcs8: &[u8]) -> Result<Self, AuthorityError> {
        Ok(Self(KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(AuthorityError::unusable)?))
    }

    /// From a PKCS #8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        Ok(Self(KeyPair::from_pem(pem).map_err(AuthorityError::unusable)?))
    }

    /// PKCS #8.
    pub fn der(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize_der())
    }

    /// A PKCS #8 PEM.
    pub fn pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// A PKCS #10 request (DER) for this key. The name is for people: whoever certifies it decides about names.
    pub fn request(&self, common_name: &str) -> Result<Vec<u8>, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        Ok(params.serialize_request(&self.0).map_err(AuthorityError::making)?.der().to_vec())
    }

    /// See [`certificate_id`].
    pub fn id(&self) -> String {
        certificate_id(&self.public_key_info())
    }

    /// SubjectPublicKeyInfo, PEM.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.public_key_info())
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn public_key_info(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }
}
