use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::Keys;
use crate::{Error, users::AuthUser};

/// Makes and reads signed tokens.
pub(crate) struct Jwt {
    keys: Keys,
    ttl: Duration,
}

#[derive(Serialize)]
struct Header {
    alg: &'static str,
    typ: &'static str,
}

#[derive(Deserialize)]
struct Seen {
    alg: String,
}

/// What etcd puts into its tokens. Numbers may come as others write them, with a point.
#[derive(Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: serde_json::Number,
    /// Unix time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<serde_json::Number>,
}

impl Jwt {
    pub(crate) fn new(keys: Keys, ttl: Duration) -> Self {
        Self { keys, ttl }
    }

    /// A token for `user`, as users and roles are at its revision.
    pub(crate) fn issue(&self, user: &AuthUser) -> Result<String, Error> {
        let header = Header { alg: self.keys.method().name(), typ: "JWT" };
        let claims = Claims {
            username: user.name.to_string(),
            revision: user.revision.into(),
            exp: Some((now() + self.ttl).as_secs().into()),
            nbf: None,
        };
        let message = format!("{}.{}", encoded(&header)?, encoded(&claims)?);
        let signature = self.keys.sign(message.as_bytes()).ok_or(Error::VerifiesOnly)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Whose token it is; nobody's if it is not signed by these keys, or not valid now.
    pub(crate) fn user(&self, token: &str) -> Option<AuthUser> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header: Seen = decoded(header)?;
        // The method is the keys', whatever the token says.
        if header.alg != self.keys.method().name() {
            return None;
        }
        if !self.keys.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?) {
            return None;
        }
        let claims: Claims = decoded(claims)?;
        let now = now().as_secs_f64();
        if claims.exp.is_some_and(|exp| exp.as_f64().is_none_or(|exp| exp <= now))
            || claims.nbf.is_some_and(|nbf| nbf.as_f64().is_none_or(|nbf| nbf > now))
        {
            return None;
        }
        // A fraction is cut off, a negative number is none.
        let revision = claims.revision.as_u64().or_else(|| claims.revision.as_f64().map(|number| number as u64))?;
        Some(AuthUser { name: claims.username.into(), revision })
    }
}

fn encoded<T: Serialize>(part: &T) -> Result<String, Error> {
    let json = serde_json::to_vec(part).map_err(|error| Error::Storage(format!("JSON: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm};

    use super::{
        super::{KeyError, Method},
        *,
    };

    const RSA: &str = include_str!("rsa-test-key.pem");
    /// As `openssl ecparam -genkey` writes it.
    const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIFSbZDOf5spcTEMRDIJsebuVeoGYBEV4hbul+6PyHgfGoAoGCCqGSM49
AwEHoUQDQgAE2IZJymprmUIZH9ufeAI90SbtXW/4oDN6ueq3y4RmZ07wR6AtqFXK
ZOmDeQZibgJvZ0JLvi2CYRgoQEedB6Cvjw==
-----END EC PRIVATE KEY-----
";
    const TTL: Duration = Duration::from_secs(300);

    fn mira() -> AuthUser {
        AuthUser { name: "mira".into(), revision: 7 }
    }

    fn pair(algorithm: &'static SignatureAlgorithm) -> (String, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        (key.serialize_pem(), key.public_key_pem())
    }

    fn jwt(method: &str, public: Option<&str>, private: Option<&str>) -> Result<Jwt, KeyError> {
        let method = Method::named(method).unwrap();
        Keys::new(method, public.map(str::as_bytes), private.map(str::as_bytes)).map(|keys| Jwt::new(keys, TTL))
    }

    #[test]
    fn every_method_signs_what_it_verifies() {
        let (p256, p384, ed) = (pair(&PKCS_ECDSA_P256_SHA256), pair(&PKCS_ECDSA_P384_SHA384), pair(&PKCS_ED25519));
        let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|method| (method, RSA));
        let others =
            [("ES256", SEC1), ("ES256", p256.0.as_str()), ("ES384", p384.0.as_str()), ("EdDSA", ed.0.as_str())];
        let secrets = ["HS256", "HS384", "HS512"].map(|method| (method, "secret\n"));
        for (method, key) in rsa.into_iter().chain(others).chain(secrets) {
            let jwt = jwt(method, None, Some(key)).unwrap();
            let token = jwt.issue(&mira()).unwrap();
            assert_eq!(jwt.user(&token), Some(mira()), "{method}");
            let (message, _) = token.rsplit_once('.').unwrap();
            for forged in [message.to_owned(), format!("{message}."), format!("{message}.AAAA")] {
                assert_eq!(jwt.user(&forged), None, "{method}");
            }
        }
    }

    #[test]
    fn the_public_key_knows_tokens_and_makes_none() {
        let (private, public) = pair(&PKCS_ED25519);
        let token = jwt("EdDSA", Some(&public), Some(&private)).unwrap().issue(&mira()).unwrap();
        let reader = jwt("EdDSA", Some(&public), None).unwrap();
        assert_eq!(reader.user(&token), Some(mira()));
        assert_eq!(reader.issue(&mira()), Err(Error::VerifiesOnly));
    }

    #[test]
    fn keys_must_fit() {
        let (ed, other) = (pair(&PKCS_ED25519), pair(&PKCS_ED25519));
        let error = |method, public, private| jwt(method, public, private).err();
        assert_eq!(error("EdDSA", Some(other.1.as_str()), Some(ed.0.as_str())), Some(KeyError::Mismatch));
        assert_eq!(error("ES256", None, Some(ed.0.as_str())), Some(KeyError::Unsuitable));
        assert_eq!(error("RS256", None, Some("secret")), Some(KeyError::NotPem));
        assert_eq!(error("EdDSA", Some("secret"), None), Some(KeyError::Public));
        for method in ["RS256", "ES256", "EdDSA", "HS256"] {
            assert_eq!(error(method, None, None), Some(KeyError::Missing));
        }
        assert_eq!(error("HS256", Some("secret"), None), Some(KeyError::Missing));
    }

    /// `etcd --auth-token=jwt,sign-method=HS256,priv-key=FILE,ttl=1000000h` of release 3.6.5 has made it.
    #[test]
    fn a_token_of_etcd_is_known() {
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
            eyJleHAiOjUzOTUyOTE1MTgsInJldmlzaW9uIjozLCJ1c2VybmFtZSI6InJvb3QifQ.\
            Y7Zp9uE8trBsIssf_kFUEYxaNZnSIOAyynKmhnQFZ_w";
        let user = jwt("HS256", None, Some("secret\n")).unwrap().user(token);
        assert_eq!(user, Some(AuthUser { name: "root".into(), revision: 3 }));
    }

    #[test]
    fn another_method_is_not_taken_from_the_token() {
        let (private, public) = pair(&PKCS_ED25519);
        let confused = jwt("HS256", None, Some(&public)).unwrap().issue(&mira()).unwrap();
        assert_eq!(jwt("EdDSA", Some(&public), Some(&private)).unwrap().user(&confused), None);
    }

    #[test]
    fn tokens_have_their_time() {
        let keys = |ttl| Jwt::new(Keys::new(Method::Hs256, None, Some(b"secret")).unwrap(), ttl);
        let expired = keys(Duration::ZERO).issue(&mira()).unwrap();
        assert_eq!(keys(TTL).user(&expired), None);
    }

    /// What another issuer may write: numbers with a point, no end, more claims.
    #[test]
    fn claims_are_read_as_etcd_reads_them() {
        let jwt = jwt("HS256", None, Some("secret")).unwrap();
        let token = |claims: &str| {
            let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256","kid":"1"}"#);
            let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
            let signature = jwt.keys.sign(message.as_bytes()).unwrap();
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        let user = |claims: &str| jwt.user(&token(claims));
        assert_eq!(user(r#"{"username":"mira","revision":7.0,"exp":9e9,"aud":"x"}"#), Some(mira()));
        assert_eq!(user(r#"{"username":"mira","revision":7}"#), Some(mira()));
        for bad in [r#"{"username":"mira"}"#, r#"{"revision":7}"#, r#"{"username":1,"revision":7}"#, "[]", ""] {
            assert_eq!(user(bad), None, "{bad}");
        }
        assert_eq!(user(r#"{"username":"mira","revision":7,"nbf":9e9}"#), None);
        assert_eq!(user(r#"{"username":"mira","revision":7,"exp":1}"#), None);
    }
}
