//! The rotation of an access key: both are good until the old one is revoked.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_proto::iam::{GetCredentialSecretRequest, credentials_client::CredentialsClient};
use serde::Serialize;
use serde_json::Value;
use tonic::{
    Request,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::{Entry, Plane, text};
use crate::{
    contract::Refusal,
    lane::{Check, Run},
};

pub(crate) const CHECK: Check = Check {
    id: "credential-rotation",
    requirement: "A second access key of a principal is good on three servers beside the first; either of them reads its \
                  secret again, and no token does without the right; once the first one is revoked no server takes it.",
    run: prove,
};

const DOC: &str = "deploy/runbooks/access-key-rotation.md#step-by-step";
const OWNER: &str = "service/ci";
const OTHER: &str = "service/other";
/// florctl's code for what the servers do not permit.
const DENIED: i32 = 1;

#[derive(Debug, Serialize)]
struct Evidence<'a> {
    old_key: &'a str,
    new_key: &'a str,
    only_live: &'a str,
    /// What tokens of its principal and of another one are told.
    read_by_tokens: &'a [String],
    listed: &'a Value,
    journal: &'a [Entry],
}

struct AccessKey {
    id: String,
    secret: String,
}

fn prove(run: &Run<'_>) -> Result<()> {
    run.in_folder(|folder| {
        let mut plane = Plane::start(run, folder, &[])?;
        for principal in [OWNER, OTHER] {
            plane.told(0, &format!("principal create {principal}"))?;
        }
        let old = access_key(&plane, 0)?;
        plane.everywhere(true, |at| logs_in(&plane, at, &old))?;
        let only_live = plane.refused(1, &format!("credential revoke {}", old.id))?;
        plane.note("the only live access key is not revoked by mistake");

        let new = access_key(&plane, 1)?;
        plane.everywhere(true, |at| Ok(logs_in(&plane, at, &old)? && logs_in(&plane, at, &new)?))?;
        plane.note("both access keys log in on every server");

        let read = format!("credential secret {}", new.id);
        for key in [&old, &new] {
            ensure!(read_back(&plane, 2, key, &new.id)? == new.secret, "what is read back is not the secret");
        }
        ensure!(plane.told(0, &read)?["secret"] == new.secret.as_str(), "an administrator reads something else");
        let mut denied = Vec::new();
        for principal in [OWNER, OTHER] {
            let somebody = plane.desk.with_token(plane.token(2, principal)?.text);
            let said = plane.iam_as(&somebody, 2, &read)?.run()?.expect(DENIED)?.errors;
            ensure!(!said.contains(&new.secret), "{said}");
            denied.push(text(&serde_json::from_str::<Value>(&said)?["message"])?);
        }
        plane.note("both access keys and an administrator read the new secret again; a token alone does not");

        plane.told(2, &format!("credential revoke {}", old.id))?;
        plane.everywhere(false, |at| logs_in(&plane, at, &old))?;
        plane.everywhere(true, |at| logs_in(&plane, at, &new))?;
        plane.note("the old access key is revoked: no server takes it, every one takes the new one");

        let listed = plane.told(0, &format!("credential list {OWNER}"))?;
        let rows = listed.as_array().context("a list")?;
        let live: Vec<_> = rows.iter().filter(|row| row["revoked"] == false).map(|row| &row["access_key_id"]).collect();
        ensure!(live == [new.id.as_str()], "live are {live:?}");

        contract(run, &only_live.replace(&old.id, "KEY"), &denied);
        run.keep(
            "credential-rotation.json",
            &Evidence {
                old_key: &old.id,
                new_key: &new.id,
                only_live: &only_live,
                read_by_tokens: &denied,
                listed: &listed,
                journal: &plane.journal,
            },
        )
    })
}

fn access_key(plane: &Plane, at: usize) -> Result<AccessKey> {
    let made = plane.told(at, &format!("credential create {OWNER}"))?;
    Ok(AccessKey { id: text(&made["access_key_id"])?, secret: text(&made["secret"])? })
}

/// Whether a server gives a token for the access key (RFC 6749, section 4.4).
fn logs_in(plane: &Plane, at: usize, key: &AccessKey) -> Result<bool> {
    let basic = STANDARD.encode(format!("{}:{}", key.id, key.secret));
    let headers = format!("authorization: Basic {basic}\r\ncontent-type: application/x-www-form-urlencoded\r\n");
    let answer = plane.anybody(at)?.ask("POST", "/oauth2/token", &headers, "grant_type=client_credentials")?;
    let body: Value = serde_json::from_slice(&answer.body)?;
    match (answer.status, body["error"].as_str()) {
        (200, None) if body["access_token"].is_string() => Ok(true),
        (401, Some("invalid_client")) => Ok(false),
        _ => bail!("{}: {body}", answer.status),
    }
}

/// The secret of an access key, as the owner of another or the same one gets it.
fn read_back(plane: &Plane, at: usize, login: &AccessKey, id: &str) -> Result<String> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(plane.desk.authority())?));
    let endpoint = Endpoint::new(format!("https://{}", plane.server(at)?.api))?.tls_config(tls)?;
    let mut request = Request::new(GetCredentialSecretRequest { access_key_id: id.to_owned() });
    request.metadata_mut().insert("authorization", basic(login).parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = CredentialsClient::new(endpoint.connect_lazy());
        Ok(client.get_credential_secret(request).await?.into_inner().secret)
    })
}

fn basic(key: &AccessKey) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", key.id, key.secret)))
}

fn contract(run: &Run<'_>, only_live: &str, denied: &[String]) {
    let mut contract = run.contract.borrow_mut();
    for (id, words) in [("create", "create"), ("read-back", "secret"), ("revoke", "revoke")] {
        contract.supports(run.line(&format!("iam.credential.{id}"), format!("florctl iam credential {words}"), DOC));
    }
    let only = run.line("iam.credential.revoke-only-live", "florctl iam credential revoke of the only live one", DOC);
    contract.refuses(only, Refusal::exit(super::WRONG_STATE, only_live));
    let readers =
        [("read-back-by-token", "with a token that did not make it"), ("read-back-of-others", "of somebody else")];
    for ((id, how), said) in readers.iter().zip(denied) {
        let line = run.line(&format!("iam.credential.{id}"), format!("florctl iam credential secret {how}"), DOC);
        contract.refuses(line, Refusal::exit(DENIED, said));
    }
}
