//! Tokens that are no tokens, are somebody else's, or are for somebody else.

use anyhow::{Context as _, Result};
use holdfast_proto::iam::EnrollRequest;
use prost::Message as _;
use rcgen::KeyPair;
use serde_json::json;
use tonic::Code;

use super::{AUTHENTICATE, Attack, NOBODY, Row, grpc, http, row, scene::Scene};
use crate::{
    http::Request,
    node,
    tokens::{Forger, unsigned, with},
};

const STATUS: &str = "/iam.v1.Admin/Status";

fn bad(reason: &str) -> Row {
    row(NOBODY, AUTHENTICATE, "iam/tokens", reason)
}

#[rustfmt::skip]
pub(super) fn table(scene: &Scene) -> Result<Vec<Attack>> {
    let Scene { header, claims, insider, .. } = scene;
    let stranger = Forger::stranger()?;
    let now = claims["iat"].as_u64().context("no time")?;
    let claimed = |name: &str, value: serde_json::Value| insider.sign(header, &with(claims, name, value));
    let headed = |name: &str, value: serde_json::Value| insider.sign(&with(header, name, value), claims);
    let status = |token: &str| Request::grpc(STATUS, b"").bearer(token);
    let no = Code::Unauthenticated;
    let elsewhere = bad("bound to a certificate that the connection does not have");
    let enroll = EnrollRequest {
        join_token: scene.pier1.join_token.clone(),
        csr_der: node::request(&KeyPair::generate()?)?.into(),
    };
    Ok(vec![
        grpc("alg: none", status(&unsigned(claims)), no, bad("algorithm not allowed for this key")),
        grpc("alg: none, in etcd's metadata", Request::grpc("/etcdserverpb.KV/Range", b"\n\x01a").header("token", unsigned(claims)), no, bad("algorithm not allowed for this key")),
        http("alg: none, at the web door", Request::get("/versions").bearer(&unsigned(claims)), 401, "authentication_failed", bad("algorithm not allowed for this key")),
        grpc("key confusion: HS256 with the public key as secret", status(&insider.confuse(header, claims)), no, bad("algorithm not allowed for this key")),
        grpc("another algorithm named", status(&headed("alg", json!("ES256"))), no, bad("algorithm not allowed for this key")),
        grpc("a stranger's key under our name", status(&stranger.sign(header, claims)), no, bad("bad signature")),
        grpc("a key that nobody knows", status(&headed("kid", json!("nobody"))), no, bad("unknown key")),
        grpc("a header that must be understood", status(&headed("crit", json!(["b64"]))), no, bad("critical header that is not understood")),
        grpc("a foreign issuer", status(&claimed("iss", json!("https://elsewhere.test"))), no, bad("wrong issuer")),
        grpc("for another audience", status(&claimed("aud", json!("kubernetes"))), no, bad("wrong audience")),
        grpc("expired", status(&claimed("exp", json!(now - 31))), no, bad("expired")),
        grpc("not valid yet", status(&claimed("nbf", json!(now + 3600))), no, bad("not valid yet")),
        grpc("of another trust domain", status(&claimed("sub", json!("spiffe://other.test/user/mira"))), no, bad("spiffe://other.test/user/mira is unknown or disabled")),
        grpc("for somebody who does not exist", status(&claimed("sub", json!("spiffe://testkit/user/nobody"))), no, bad("spiffe://testkit/user/nobody is unknown or disabled")),
        grpc("from before a restore", status(&claimed("epoch", json!(1_000_000))), no, bad("issued before the last restore")),
        grpc("a bound token without its certificate", status(&scene.bound), no, elsewhere.clone()),
        grpc("a bound token with another certificate", status(&scene.bound), no, elsewhere.clone()).by(&scene.pier2),
        http("a bound token at the web door", Request::get("/artifact/pier1").bearer(&scene.bound), 401, "authentication_failed", elsewhere).by(&scene.pier2),
        grpc("a join token that was used, with another key", Request::grpc("/iam.v1.Enrollment/Enroll", &enroll.encode_to_vec()), no, row(NOBODY, AUTHENTICATE, "iam/secrets", "join token: another key used it already")),
    ])
}
