//! Who may not is told so, in the words of the protocol that was spoken: one text for whatever is wrong with a token,
//! the action and the resource for who is known but may not, and nothing is open by omission.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tonic::Code;

use crate::{
    http::{Answer, Request},
    lab::Lab,
    programs::psql,
    tokens::{Forger, opened, unsigned, with},
};

/// A path of each kind on each web door that is not public.
const GUARDED: [&str; 6] = ["/versions", "/nodes", "/nodes/pier2", "/artifact/pier2", "/locks", "/revocations"];

fn status(lab: &Lab, token: Option<&str>) -> Result<Answer> {
    let request = Request::grpc("/iam.v1.Admin/Status", b"");
    token.map_or(request.clone(), |token| request.bearer(token)).send(&lab.at.api)
}

#[test]
fn nobody_gets_nothing() -> Result<()> {
    let lab = Lab::start()?;
    for path in GUARDED {
        let answer = Request::get(path).send(&lab.at.http)?;
        answer.expect(401, "error", "authentication_required")?;
        ensure!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("bearer")), "{answer:?}");
    }
    Request::post("/publish", "{}").send(&lab.at.http)?.expect(401, "error", "authentication_required")?;
    status(&lab, None)?.expect_grpc(Code::Unauthenticated, "authentication is required")?;
    for path in ["/etcdserverpb.KV/Range", "/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseGrant"] {
        let answer = Request::grpc(path, b"").send(&lab.at.api)?;
        answer.expect_grpc(Code::InvalidArgument, "etcdserver: user name is empty")?;
    }
    for path in ["/flaredb.v1.Flaredb/Query", "/configsrv.v1.ConfigService/ListNodes", "/iam.v1.Tokens/Issue"] {
        Request::grpc(path, b"").send(&lab.at.api)?.expect_grpc(Code::Unauthenticated, "authentication is required")?;
    }
    Ok(())
}

/// Whatever is wrong with a token, its bearer learns only that it does not do.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_a_bad_token() -> Result<()> {
    let lab = Lab::start()?;
    let (header, claims) = opened(&lab.api()?.principal("user/mira", "reader").await?)?;
    let (insider, stranger) = (Forger::insider(&lab.server.launch().data)?, Forger::stranger()?);
    // What the server itself would sign is good, so what follows is refused for what is said of it.
    let same = Request::get("/versions").bearer(&insider.sign(&header, &claims)).send(&lab.at.http)?;
    ensure!(same.status == 200, "{same:?}");

    let now = claims["iat"].as_u64().context("no time")?;
    let headed = |name: &str, value: serde_json::Value| insider.sign(&with(&header, name, value), &claims);
    let claimed = |name: &str, value: serde_json::Value| insider.sign(&header, &with(&claims, name, value));
    let bad = [
        // These could be guesses at a secret, which forgers have no turn at after a while.
        ("not a token", "x".repeat(40)),
        ("alg: none", unsigned(&claims)),
        ("another algorithm", headed("alg", json!("HS256"))),
        ("another key", stranger.sign(&header, &claims)),
        ("an unknown key", headed("kid", json!("nobody"))),
        ("no key", headed("kid", json!(null))),
        ("a critical header", headed("crit", json!(["b64"]))),
        ("expired", claimed("exp", json!(now - 31))),
        ("not yet", claimed("nbf", json!(now + 3600))),
        ("another issuer", claimed("iss", json!("http://elsewhere.test"))),
        ("another audience", claimed("aud", json!("kubernetes"))),
        ("another trust domain", claimed("sub", json!("spiffe://other.test/user/mira"))),
        ("an unknown principal", claimed("sub", json!("spiffe://quay.test/user/nobody"))),
        ("before the last restore", claimed("epoch", json!(1_000_000))),
    ];
    for (what, token) in bad {
        let answer = status(&lab, Some(&token))?;
        answer.expect_grpc(Code::Unauthenticated, "authentication failed").context(what)?;
        let etcd = Request::grpc("/etcdserverpb.KV/Range", b"\n\x01a").header("token", token.clone());
        let etcd = etcd.send(&lab.at.api)?;
        etcd.expect_grpc(Code::Unauthenticated, "etcdserver: invalid auth token").context(what)?;
        let http = Request::get("/versions").bearer(&token).send(&lab.at.http)?;
        http.expect(401, "error", "authentication_failed").context(what)?;
        for answer in [answer, etcd, http] {
            let text = format!("{}{}", answer.head, answer.body).to_lowercase();
            ensure!(!text.contains(&token.to_lowercase()), "{what}: the token came back");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_but_may_not_is_told_what() -> Result<()> {
    let lab = Lab::start()?;
    let reader = lab.api()?.principal("user/rita", "reader").await?;
    let node = lab.api()?.principal("node/pier2", "node").await?;
    for token in [&reader, &node] {
        let create = Request::grpc("/iam.v1.Admin/CreatePrincipal", b"\n\x06user/x").bearer(token).send(&lab.at.api)?;
        create.expect_grpc(Code::PermissionDenied, "not permitted: iam.Admin on ")?;
        let put = Request::grpc("/etcdserverpb.KV/Put", b"\n\x01a\x12\x01b").bearer(token).send(&lab.at.api)?;
        put.expect_grpc(Code::PermissionDenied, "etcdserver: permission denied")?;
        let publish = Request::post("/publish", "{}").bearer(token).send(&lab.at.http)?;
        publish.expect(403, "error", "permission_denied")?;
        ensure!(publish.body.contains("config.Publish on versions/*"), "{publish:?}");
        let execute = Request::grpc("/flaredb.v1.Flaredb/Execute", b"").bearer(token).send(&lab.at.api)?;
        execute.expect_grpc(Code::PermissionDenied, "not permitted: history.Migrate on ")?;
    }
    // A node has no business with another node.
    for path in ["/artifact/pier3", "/nodes/pier3", "/nodes", "/versions"] {
        let answer = Request::get(path).bearer(&node).send(&lab.at.http)?;
        ensure!(answer.status == 403 && answer.body.contains("not permitted: config."), "{path}: {answer:?}");
    }
    Request::get("/artifact/pier2").bearer(&node).send(&lab.at.http)?.expect(503, "error", "not_published")
}

#[test]
fn nothing_is_open_by_omission() -> Result<()> {
    let lab = Lab::start()?;
    let paths = [
        "/",
        "/nothing",
        "/admin",
        "//versions",
        "/versions//",
        "/./versions",
        "/x/../versions",
        "/%2e%2e/versions",
        "/versions%2f1",
        "/%76ersions",
        "/versions;x=1",
        "/jwks.json/..",
        "//jwks.json",
        "/healthz/x",
        "/etcdserverpb.KV/Range",
    ];
    for path in paths {
        Request::get(path).send(&lab.at.http)?.expect(401, "error", "authentication_required").context(path)?;
        Request::get(path)
            .bearer(&lab.token)
            .send(&lab.at.http)?
            .expect(403, "error", "permission_denied")
            .context(path)?;
    }
    for path in ["/publish", "/jwks.json", "/versions"] {
        Request::get(path).send(&lab.at.api)?.expect(401, "error", "authentication_required").context(path)?;
    }
    for path in
        ["/iam.v1.Admin/Status2", "/iam.v1.Nothing/Status", "/etcdserverpb.KV/Compactt", "//iam.v1.Admin/Status"]
    {
        let anybody = Request::grpc(path, b"").send(&lab.at.api)?;
        ensure!(matches!(anybody.header("grpc-status"), Some("16" | "3")), "{path}: {anybody:?}");
        let admin = Request::grpc(path, b"").bearer(&lab.token).send(&lab.at.api)?;
        ensure!(matches!(admin.header("grpc-status"), Some("7" | "12")), "{path}: {admin:?}");
    }
    Ok(())
}

#[test]
fn sql_is_not_open_either() -> Result<()> {
    let lab = Lab::start()?;
    for password in ["wrong", ""] {
        let Some(said) = psql(&lab.at.sql, password, "SELECT 1")? else { return Ok(()) };
        let text = said.bad()?;
        ensure!(text.contains("authentication failed") || text.contains("no password supplied"), "{text}");
    }
    Ok(())
}

/// After some wrong guesses the guesser waits; what was guessed at, too; a bearer with a real token does not.
#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_slowed_down() -> Result<()> {
    let lab = Lab::start()?;
    let reader = lab.api()?.principal("user/rita", "reader").await?;
    let mut answer = status(&lab, Some("a-wrong-guess-of-the-admin-token"))?;
    for _ in 0..30 {
        answer = status(&lab, Some("a-wrong-guess-of-the-admin-token"))?;
    }
    answer.expect_grpc(Code::ResourceExhausted, "too many failed attempts")?;
    let http = Request::get("/versions").bearer("a-wrong-guess-of-the-admin-token").send(&lab.at.http)?;
    http.expect(429, "error", "slow_down")?;
    ensure!(http.header("retry-after").is_some(), "{http:?}");
    ensure!(Request::get("/versions").bearer(&reader).send(&lab.at.http)?.status == 200);
    Ok(())
}
