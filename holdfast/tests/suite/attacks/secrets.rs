//! Guesses. A no says nothing about what there is, and who goes on is slowed down: by address, and by whose secret it is.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};

use super::{AUTHENTICATE, Addresses, Attack, NOBODY, Row, http, row, scene::Scene};
use crate::http::Request;

/// More than anybody may fail before he waits.
const MANY: usize = 11;

fn login(id: &str, secret: &str) -> Request<'static> {
    let request = Request::post("/oauth2/token", "grant_type=client_credentials");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.header("authorization", format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))))
}

fn guess(what: &'static str, id: &str, whose: &str) -> Attack {
    http(
        what,
        login(id, "a-guess"),
        401,
        r#"{"error":"invalid_client","error_description":"authentication failed"}"#,
        row(NOBODY, AUTHENTICATE, "iam/secrets", &format!("wrong access key or secret of {whose}")),
    )
}

/// What nobody is called may be a secret in the wrong field.
fn guess_at_nobody(what: &'static str, id: &str) -> Attack {
    let hash = digest(&SHA256, id.as_bytes());
    let hash: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    guess(what, id, &format!("nobody (SHA-256 {hash}…)"))
}

fn not_looked_at() -> Row {
    row(NOBODY, AUTHENTICATE, "iam/secrets", "not looked at, after too many failures")
}

fn many(what: &'static str, ids: impl Iterator<Item = String>, from: Addresses, last: Request<'static>) -> Attack {
    let guesses = ids.map(|id| login(&id, "a-guess")).chain([last]).collect();
    Attack { requests: guesses, from, ..http(what, login("", ""), 429, "slow_down", not_looked_at()) }
}

#[rustfmt::skip]
pub(super) fn table(scene: &Scene) -> Vec<Attack> {
    let (root, ci) = (&scene.root, &scene.ci);
    let unknown = |number: usize| format!("HFAK{number:016}");
    vec![
        guess("a wrong secret", &ci.0, "service/ci"),
        guess_at_nobody("an access key that nobody has", "HFAK0123456789ABCDEF"),
        guess_at_nobody("a name that is no access key", "service/ci"),
        // Also the right secret waits, so that nobody learns when a guess was right.
        many("many access keys from one address", (0..MANY).map(unknown), Addresses::One, login(&ci.0, &ci.1)),
        many("many principals' from one address", (0..MANY).map(|n| if n % 2 == 0 { ci.0.clone() } else { unknown(n) }), Addresses::One, login("nobody", "a-guess")),
        many("one principal's from many addresses", (0..MANY).map(|_| root.0.clone()), Addresses::Many, login(&root.0, "a-guess")),
    ]
}
