use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use iam_core::{
    Scope,
    credential::AccessKeyId,
    enrol::JoinToken,
    signing::{Assertion, Audience, Claims, KeyRing, SigningKey, Verifier, issue},
};
use zeroize::Zeroizing;

use crate::mutate::rounds;

const ISSUER: &str = "https://holdfast.example";
const NOW_S: u64 = 1_800_000_000;
const WORDS: &[&[u8]] = &[
    b".",
    b"..",
    b"=",
    b"{}",
    b"\"alg\":\"none\"",
    b"\"alg\":\"HS256\"",
    b"\"kid\":",
    b"\"exp\":1e999",
    b"\"exp\":-1",
    b"\"crit\":[\"b64\"]",
    b"[[[[",
    b"null",
    b"18446744073709551616",
    b"\\u0000",
    b"\"x5c\":[\"\"]",
    b"\"jwk\":{}",
];

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
fn a_token_that_was_changed_does_not_verify() {
    let key = SigningKey::from_seed(&Zeroizing::new([1; 32])).unwrap();
    let ring = KeyRing::genesis(key.public().clone(), 0).unwrap();
    let verifier = Verifier { ring: &ring, issuer: ISSUER, audience: "holdfast" };
    let token = issue(&key, &claims()).unwrap();
    assert!(verifier.verify(&token, NOW_S * 1000).is_ok());
    let parts: Vec<Vec<u8>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    rounds(|dice| {
        // The text, or what is inside one of its parts.
        let changed = if dice.roll(2) == 0 {
            String::from_utf8_lossy(&dice.change(token.as_bytes(), WORDS)).into_owned()
        } else {
            let at = dice.roll(parts.len());
            let part = URL_SAFE_NO_PAD.encode(dice.change(&parts[at], WORDS));
            let texts = token.split('.').enumerate().map(|(number, text)| if number == at { &part } else { text });
            texts.collect::<Vec<_>>().join(".")
        };
        assert!(changed == token || verifier.verify(&changed, NOW_S * 1000).is_err(), "{changed}");
        // What strangers may send in the same places; whatever it is, it is read to its end.
        let _ = Assertion::parse(&changed);
        let _ = JoinToken::parse(&changed);
        let _ = AccessKeyId::parse(&changed);
    });
}

#[test]
fn a_join_token_that_was_changed_names_other_things() {
    let node = "node/pier2".parse().unwrap();
    let token = JoinToken::new(node, [7; 32], Zeroizing::new([9; 32])).unwrap().text();
    let original = JoinToken::parse(&token).unwrap();
    rounds(|dice| {
        let changed = String::from_utf8_lossy(&dice.change(token.as_bytes(), WORDS)).into_owned();
        if let Ok(parsed) = JoinToken::parse(&changed) {
            let same = parsed.id() == original.id() && parsed.ca_sha256() == original.ca_sha256();
            assert!(!same || parsed.node() == original.node(), "{changed}");
        }
    });
}
