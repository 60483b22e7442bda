//! Attacks on tokens: each is refused, and the audit log knows why.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use iam_core::{
    Scope,
    rotation::{Evidence, Step, Terms, Waive, Windows},
    signing::{Audience, Claims, KeyRing, SigningKey, TokenFault, Verifier, issue},
};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

const ISSUER: &str = "https://holdfast.example";
const NOW_S: u64 = 1_800_000_000;

struct Plane {
    key: SigningKey,
    ring: KeyRing,
}

impl Plane {
    fn new() -> Self {
        Self::with(SigningKey::from_seed(&Zeroizing::new([1; 32])).unwrap())
    }

    fn with(key: SigningKey) -> Self {
        let ring = KeyRing::genesis(key.public().clone(), 0).unwrap();
        Self { key, ring }
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenFault> {
        let verifier = Verifier { ring: &self.ring, issuer: ISSUER, audience: "holdfast" };
        verifier.verify(token, NOW_S * 1000).map(|verified| verified.claims)
    }

    /// `claims` signed with this plane's key.
    fn sign(&self, claims: &Claims) -> String {
        issue(&self.key, claims).unwrap()
    }

    fn kid(&self) -> String {
        self.ring.keys.items[0].id.clone()
    }
}

fn claims() -> Claims {
    Claims {
        iss: ISSUER.into(),
        sub: "spiffe://harbour.example/user/mira".into(),
        aud: Audience::One("holdfast".into()),
        iat: NOW_S,
        nbf: NOW_S,
        exp: NOW_S + 60,
        jti: "t1".into(),
        roles: vec!["reader".into()],
        lin: "t1".into(),
        epoch: 1,
        rev: Some(1),
        scope: None,
        cnf: None,
        within: Scope::System,
    }
}

#[test]
fn organisation_and_project_are_claims() {
    let plane = Plane::new();
    for (text, org, project) in [("org/acme", Some("acme"), None), ("org/acme/project/web", Some("acme"), Some("web"))]
    {
        let claims = Claims { within: text.parse().unwrap(), ..claims() };
        let value = serde_json::to_value(&claims).unwrap();
        assert_eq!(
            (value.get("org"), value.get("project")),
            (org.map(Value::from).as_ref(), project.map(Value::from).as_ref())
        );
        assert_eq!(plane.verify(&plane.sign(&claims)), Ok(claims));
    }
    let value = serde_json::to_value(claims()).unwrap();
    assert!(value.get("org").is_none() && value.get("project").is_none());
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with any header and signature.
fn forged(header: &Value, signature: &[u8]) -> String {
    let claims = serde_json::to_value(claims()).unwrap();
    format!("{}.{}.{}", part(header), part(&claims), URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn both_algorithms_sign_and_verify() {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let p256 = SigningKey::from_pkcs8(Zeroizing::new(document.as_ref().to_vec())).unwrap();
    for plane in [Plane::new(), Plane::with(p256)] {
        assert_eq!(plane.verify(&plane.sign(&claims())), Ok(claims()));
    }
}

#[test]
fn algorithm_none_is_not_allowed() {
    let plane = Plane::new();
    for alg in ["none", "None", "NONE", ""] {
        let header = json!({"alg": alg, "typ": "JWT", "kid": plane.kid()});
        assert_eq!(plane.verify(&forged(&header, b"")), Err(TokenFault::Algorithm), "{alg}");
    }
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let plane = Plane::new();
    let public = URL_SAFE_NO_PAD.decode(&plane.key.public().key).unwrap();
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": plane.kid()});
    let message = forged(&header, b"");
    let message = message.trim_end_matches('.');
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
    assert_eq!(plane.verify(&token), Err(TokenFault::Algorithm));
    let header = json!({"alg": "ES256", "kid": plane.kid()});
    assert_eq!(plane.verify(&forged(&header, &[0; 64])), Err(TokenFault::Algorithm));
}

#[test]
fn keys_come_from_the_ring_only() {
    let (plane, thief) = (Plane::new(), Plane::with(SigningKey::from_seed(&Zeroizing::new([2; 32])).unwrap()));
    assert_eq!(plane.verify(&thief.sign(&claims())), Err(TokenFault::UnknownKey));
    assert_eq!(plane.verify(&forged(&json!({"alg": "EdDSA"}), &[0; 64])), Err(TokenFault::NoKey));
    // The thief's signature under our key's name, with his key offered in the header.
    let stolen = thief.sign(&claims());
    let (_, rest) = stolen.split_once('.').unwrap();
    let jwk = serde_json::to_value(thief.key.public().jwk(plane.kid()).unwrap()).unwrap();
    let header = json!({"alg": "EdDSA", "kid": plane.kid(), "jwk": jwk, "jku": "https://thief.example/jwks"});
    assert_eq!(plane.verify(&format!("{}.{rest}", part(&header))), Err(TokenFault::Signature));
}

#[test]
fn a_changed_token_does_not_verify() {
    let plane = Plane::new();
    let token = plane.sign(&claims());
    let (header, rest) = token.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let admin = Claims { roles: vec!["admin".into()], ..claims() };
    let changed = format!("{header}.{}.{signature}", part(&serde_json::to_value(admin).unwrap()));
    assert_eq!(plane.verify(&changed), Err(TokenFault::Signature));
    assert_eq!(plane.verify(&format!("{header}.{}.", rest.split_once('.').unwrap().0)), Err(TokenFault::Signature));
    for broken in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", &"a".repeat(9000), &format!("{token}.x")] {
        assert_eq!(plane.verify(broken), Err(TokenFault::Malformed), "{broken}");
    }
}

#[test]
fn critical_headers_are_not_ignored() {
    let plane = Plane::new();
    let header = json!({"alg": "EdDSA", "kid": plane.kid(), "crit": ["b64"], "b64": false});
    assert_eq!(plane.verify(&forged(&header, &[0; 64])), Err(TokenFault::Critical));
}

#[test]
fn claims_must_fit_this_plane_and_time() {
    let plane = Plane::new();
    let cases = [
        (Claims { iss: "https://other.example".into(), ..claims() }, TokenFault::Issuer),
        (Claims { aud: Audience::One("other".into()), ..claims() }, TokenFault::Audience),
        (Claims { aud: Audience::Many(vec![]), ..claims() }, TokenFault::Audience),
        (Claims { exp: NOW_S - 30, ..claims() }, TokenFault::Expired),
        (Claims { exp: 0, ..claims() }, TokenFault::Expired),
        (Claims { nbf: NOW_S + 31, ..claims() }, TokenFault::Early),
        (Claims { epoch: 2, ..claims() }, TokenFault::Epoch),
    ];
    for (claims, fault) in cases {
        assert_eq!(plane.verify(&plane.sign(&claims)), Err(fault), "{claims:?}");
    }
    for claims in [
        Claims { exp: NOW_S - 29, ..claims() },
        Claims { nbf: NOW_S + 30, ..claims() },
        Claims { aud: Audience::Many(vec!["other".into(), "holdfast".into()]), ..claims() },
    ] {
        assert!(plane.verify(&plane.sign(&claims)).is_ok(), "{claims:?}");
    }
}

#[test]
fn a_retired_key_verifies_nothing() {
    let (windows, evidence) = (Windows::default(), Evidence::default());
    let terms = Terms { windows: &windows, evidence: &evidence, now_ms: 1, waive: Waive::Everything };
    let mut plane = Plane::new();
    let old = plane.sign(&claims());
    let next = SigningKey::from_seed(&Zeroizing::new([2; 32])).unwrap();
    let kid = next.public().kid().unwrap();
    plane.ring = plane.ring.add(next.public().clone(), 0).unwrap().step(&kid, Step::Activate, &terms).unwrap();
    assert!(plane.verify(&old).is_ok(), "the overlap");
    assert!(plane.verify(&issue(&next, &claims()).unwrap()).is_ok());
    plane.ring = plane.ring.step(&plane.kid(), Step::Retire, &terms).unwrap();
    assert_eq!(plane.verify(&old), Err(TokenFault::RetiredKey(plane.kid())));
}
