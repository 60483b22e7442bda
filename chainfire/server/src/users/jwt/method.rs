use ring::{
    hmac,
    signature::{self, EcdsaSigningAlgorithm, RsaEncoding, VerificationAlgorithm},
};

/// How tokens are signed (RFC 7518, section 3.1; RFC 8037). P-521 (`ES512`) is missing: ring does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Hs256,
    Hs384,
    Hs512,
    EdDsa,
}

/// What a method does its work with.
#[derive(Clone, Copy)]
pub(super) enum Algorithm {
    Rsa(&'static dyn RsaEncoding, &'static dyn VerificationAlgorithm),
    Ec(&'static EcdsaSigningAlgorithm, &'static dyn VerificationAlgorithm),
    Ed(&'static dyn VerificationAlgorithm),
    Hmac(hmac::Algorithm),
}

const ALL: [(&str, Method); 12] = [
    ("RS256", Method::Rs256),
    ("RS384", Method::Rs384),
    ("RS512", Method::Rs512),
    ("PS256", Method::Ps256),
    ("PS384", Method::Ps384),
    ("PS512", Method::Ps512),
    ("ES256", Method::Es256),
    ("ES384", Method::Es384),
    ("HS256", Method::Hs256),
    ("HS384", Method::Hs384),
    ("HS512", Method::Hs512),
    ("EdDSA", Method::EdDsa),
];

impl Method {
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|(own, _)| *own == name).map(|(_, method)| method)
    }

    pub(crate) fn name(self) -> &'static str {
        ALL.into_iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }

    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::Rsa(&signature::RSA_PKCS1_SHA256, &signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Algorithm::Rsa(&signature::RSA_PKCS1_SHA384, &signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Algorithm::Rsa(&signature::RSA_PKCS1_SHA512, &signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Algorithm::Rsa(&signature::RSA_PSS_SHA256, &signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Algorithm::Rsa(&signature::RSA_PSS_SHA384, &signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Algorithm::Rsa(&signature::RSA_PSS_SHA512, &signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 => {
                Algorithm::Ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &signature::ECDSA_P256_SHA256_FIXED)
            }
            Self::Es384 => {
                Algorithm::Ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &signature::ECDSA_P384_SHA384_FIXED)
            }
            Self::Hs256 => Algorithm::Hmac(hmac::HMAC_SHA256),
            Self::Hs384 => Algorithm::Hmac(hmac::HMAC_SHA384),
            Self::Hs512 => Algorithm::Hmac(hmac::HMAC_SHA512),
            Self::EdDsa => Algorithm::Ed(&signature::ED25519),
        }
    }
}
