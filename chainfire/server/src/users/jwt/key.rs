use ring::{
    hmac,
    rand::SystemRandom,
    signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};
use x509_parser::{
    asn1_rs::{self, Any, BitString, Class, FromDer as _, Sequence, Tag},
    x509::SubjectPublicKeyInfo,
};

use super::method::{Algorithm, Method};

/// The keys of one method, of which the private one may be elsewhere.
pub(crate) struct Keys {
    method: Method,
    signer: Option<Signer>,
    verifier: Verifier,
}

enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Hmac(hmac::Key),
}

enum Verifier {
    Public(UnparsedPublicKey<Vec<u8>>),
    Hmac(hmac::Key),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("neither pub-key nor priv-key names a file with a key")]
    Missing,
    #[error("priv-key is not a PEM with a private key")]
    NotPem,
    #[error("priv-key is not a key for this sign-method; RSA keys have 2048 bits or more")]
    Unsuitable,
    #[error("pub-key is not a PEM with a public key or a certificate")]
    Public,
    #[error("pub-key and priv-key do not belong together")]
    Mismatch,
}

impl Keys {
    /// Keys from the contents of files; of the public one nothing is needed where the private one is.
    pub(crate) fn new(method: Method, public: Option<&[u8]>, private: Option<&[u8]>) -> Result<Self, KeyError> {
        let (public, private) = (public.filter(|pem| !pem.is_empty()), private.filter(|key| !key.is_empty()));
        let algorithm = method.algorithm();
        if let Algorithm::Hmac(digest) = algorithm {
            let key = hmac::Key::new(digest, private.ok_or(KeyError::Missing)?);
            return Ok(Self { method, signer: Some(Signer::Hmac(key.clone())), verifier: Verifier::Hmac(key) });
        }
        let signer = private.map(|pem| Signer::read(algorithm, pem)).transpose()?;
        let given = public.map(public_key).transpose()?;
        let own = signer.as_ref().and_then(Signer::public);
        if let (Some(given), Some(own)) = (&given, &own)
            && given != own
        {
            return Err(KeyError::Mismatch);
        }
        let key = own.or(given).ok_or(KeyError::Missing)?;
        let verifier = Verifier::Public(UnparsedPublicKey::new(verification(algorithm)?, key));
        Ok(Self { method, signer, verifier })
    }

    pub(super) fn method(&self) -> Method {
        self.method
    }

    /// The signature of `message`; none if only the public key is here.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match (self.signer.as_ref()?, self.method.algorithm()) {
            (Signer::Rsa(key), Algorithm::Rsa(encoding, _)) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(encoding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            (Signer::Ec(key), _) => key.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            (Signer::Ed(key), _) => Some(key.sign(message).as_ref().to_vec()),
            (Signer::Hmac(key), _) => Some(hmac::sign(key, message).as_ref().to_vec()),
            (Signer::Rsa(_), _) => None,
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.verifier {
            Verifier::Public(key) => key.verify(message, signature).is_ok(),
            Verifier::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl Signer {
    fn read(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        let unsuitable = |_| KeyError::Unsuitable;
        match (algorithm, PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::NotPem)?) {
            (Algorithm::Rsa(..), PrivateKeyDer::Pkcs1(der)) => {
                RsaKeyPair::from_der(der.secret_pkcs1_der()).map(Self::Rsa).map_err(unsuitable)
            }
            (Algorithm::Rsa(..), PrivateKeyDer::Pkcs8(der)) => {
                RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map(Self::Rsa).map_err(unsuitable)
            }
            (Algorithm::Ec(curve, _), PrivateKeyDer::Pkcs8(der)) => {
                let random = SystemRandom::new();
                EcdsaKeyPair::from_pkcs8(curve, der.secret_pkcs8_der(), &random).map(Self::Ec).map_err(unsuitable)
            }
            (Algorithm::Ec(curve, _), PrivateKeyDer::Sec1(der)) => {
                let (private, public) = sec1(der.secret_sec1_der()).ok_or(KeyError::Unsuitable)?;
                let random = SystemRandom::new();
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, &private, &public, &random);
                pair.map(Self::Ec).map_err(unsuitable)
            }
            (Algorithm::Ed(_), PrivateKeyDer::Pkcs8(der)) => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map(Self::Ed).map_err(unsuitable)
            }
            _ => Err(KeyError::Unsuitable),
        }
    }

    /// The public half as certificates have it.
    fn public(&self) -> Option<Vec<u8>> {
        match self {
            Self::Rsa(key) => Some(key.public_key().as_ref().to_vec()),
            Self::Ec(key) => Some(key.public_key().as_ref().to_vec()),
            Self::Ed(key) => Some(key.public_key().as_ref().to_vec()),
            Self::Hmac(_) => None,
        }
    }
}

fn verification(algorithm: Algorithm) -> Result<&'static dyn VerificationAlgorithm, KeyError> {
    match algorithm {
        Algorithm::Rsa(_, verification) | Algorithm::Ec(_, verification) | Algorithm::Ed(verification) => {
            Ok(verification)
        }
        Algorithm::Hmac(_) => Err(KeyError::Unsuitable),
    }
}

/// The private and the public half of a key as `openssl ecparam` writes it (RFC 5915): a version, the private key, and
/// in context tags the curve and the public key.
fn sec1(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    const PUBLIC: u32 = 1;
    let (_, key) = Sequence::from_der(der).ok()?;
    let parts = key.der_iter::<Any<'_>, asn1_rs::Error>().collect::<Result<Vec<_>, _>>().ok()?;
    let private = parts.get(1)?.data.to_vec();
    let public = parts.iter().find(|part| part.class() == Class::ContextSpecific && part.tag() == Tag(PUBLIC))?;
    let (_, public) = BitString::from_der(public.data).ok()?;
    Some((private, public.data.to_vec()))
}

/// The key itself, from a public key or a certificate.
fn public_key(pem: &[u8]) -> Result<Vec<u8>, KeyError> {
    if let Ok(der) = SubjectPublicKeyInfoDer::from_pem_slice(pem) {
        let (_, info) = SubjectPublicKeyInfo::from_der(der.as_ref()).map_err(|_| KeyError::Public)?;
        return Ok(info.subject_public_key.data.to_vec());
    }
    let der = CertificateDer::from_pem_slice(pem).map_err(|_| KeyError::Public)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(der.as_ref()).map_err(|_| KeyError::Public)?;
    Ok(certificate.public_key().subject_public_key.data.to_vec())
}
