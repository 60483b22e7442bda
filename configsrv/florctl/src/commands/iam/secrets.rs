use holdfast_proto::iam::{
    CreateCredentialRequest, CreateJoinTokenRequest, DisableBootstrapTokenRequest, GetCredentialSecretRequest,
    IssueTokenRequest, LastWord, ListCredentialsRequest, RevokeCredentialRequest, RevokeTokenRequest,
    RevokeTokenResponse, admin_client::AdminClient, credentials_client::CredentialsClient,
    enrollment_client::EnrollmentClient, revoke_token_request::What, tokens_client::TokensClient,
};
use serde_json::{Value, json};
use tonic::Request;

use super::hand_over;
use crate::{
    cli::{Bootstrap, Credential, JoinToken, Token},
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn token(command: Token, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = TokensClient::new(channel);
    match command {
        Token::Issue { principal, ttl, out } => {
            let request = IssueTokenRequest { principal, ttl_s: ttl.as_secs() };
            let answer = client.issue(request).await.map_err(refused)?.into_inner();
            let value = json!({ "jti": answer.jti, "expires_ms": answer.expires_ms });
            // Alone on the standard output, so that a shell can take it.
            hand_over(&answer.token, "token", value, out.as_deref(), output, String::new)
        }
        Token::Revoke { what, wait } => {
            let what = match (what.jti, what.principal, what.kid) {
                (Some(jti), ..) => What::Jti(jti),
                (_, Some(principal), _) => What::Principal(principal),
                (.., Some(kid)) => What::Kid(kid),
                (None, None, None) => return Err(Failure::usage("--jti, --principal or --kid says what to revoke")),
            };
            let wait_s = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
            let request = RevokeTokenRequest { what: Some(what), wait_s };
            receipt(&client.revoke(request).await.map_err(refused)?.into_inner(), output)
        }
    }
}

fn receipt(receipt: &RevokeTokenResponse, output: Format) -> Result<(), Failure> {
    let stragglers: Vec<Value> = receipt
        .stragglers
        .iter()
        .map(|word| json!({ "verifier": word.verifier, "acknowledged_ms": word.acknowledged_ms }))
        .collect();
    let value = json!({
        "revision": receipt.revision,
        "enforced": receipt.enforced,
        "servers": receipt.servers,
        "stragglers": stragglers,
        "servers_until_ms": receipt.servers_until_ms,
        "outside_until_ms": receipt.outside_until_ms,
    });
    output.print(&value, || {
        let late = |word: &LastWord| {
            let (last, until) = (moment(Some(word.acknowledged_ms)), moment(Some(receipt.servers_until_ms)));
            format!("not known of {} (last word {last}); cut off, it accepts until {until} at worst\n", word.verifier)
        };
        format!(
            "revoked at revision {}: enforced by {} of {} servers\n{}verifiers that only look at signatures accept until \
             {} at worst",
            receipt.revision,
            receipt.enforced,
            receipt.servers,
            receipt.stragglers.iter().map(late).collect::<String>(),
            moment(Some(receipt.outside_until_ms)),
        )
    })
}

pub(super) async fn credential(command: Credential, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = CredentialsClient::new(channel);
    match command {
        Credential::Create { principal, note, idempotency_key, out } => {
            let mut request = Request::new(CreateCredentialRequest { principal, note });
            if let Some(key) = idempotency_key {
                let key = key.parse().map_err(|_| Failure::usage("an idempotency key is a word of ASCII"))?;
                request.metadata_mut().insert("idempotency-key", key);
            }
            let answer = client.create(request).await.map_err(refused)?.into_inner();
            let made = answer.credential.unwrap_or_default();
            let value = json!({ "access_key_id": made.access_key_id, "principal": made.principal });
            let text = || format!("access key {} of {}, secret ", made.access_key_id, made.principal);
            hand_over(&answer.secret, "secret", value, out.as_deref(), output, text)
        }
        Credential::List { principal } => {
            let request = ListCredentialsRequest { principal };
            let found = client.list(request).await.map_err(refused)?.into_inner().credentials;
            let value: Vec<Value> = found
                .iter()
                .map(|credential| {
                    json!({
                        "access_key_id": credential.access_key_id,
                        "principal": credential.principal,
                        "created_ms": credential.created_ms,
                        "revoked": credential.revoked,
                        "note": credential.note,
                        "last_used_ms": credential.last_used_ms,
                        "last_used_from": credential.last_used_from,
                        "last_used_server": credential.last_used_server,
                    })
                })
                .collect();
            output.print(&value, || {
                let mut table =
                    Table::new(&["ACCESS KEY", "PRINCIPAL", "CREATED", "LAST USED", "FROM", "STATE", "NOTE"]);
                for credential in &found {
                    table.row([
                        credential.access_key_id.clone(),
                        credential.principal.clone(),
                        moment(Some(credential.created_ms)),
                        moment(Some(credential.last_used_ms).filter(|at_ms| *at_ms > 0)),
                        credential.last_used_from.clone(),
                        if credential.revoked { "revoked" } else { "valid" }.to_owned(),
                        credential.note.clone(),
                    ]);
                }
                table.to_string()
            })
        }
        Credential::Secret { access_key_id, out } => {
            let value = json!({ "access_key_id": access_key_id });
            let request = GetCredentialSecretRequest { access_key_id };
            let answer = client.get_credential_secret(request).await.map_err(refused)?.into_inner();
            hand_over(&answer.secret, "secret", value, out.as_deref(), output, String::new)
        }
        Credential::Revoke { access_key_id, force } => {
            let request = RevokeCredentialRequest { access_key_id, force };
            let answer = client.revoke(request).await.map_err(refused)?.into_inner();
            output.print(&json!({ "revision": answer.revision }), || "revoked".to_owned())
        }
    }
}

pub(super) async fn join_token(command: JoinToken, channel: Channel, output: Format) -> Result<(), Failure> {
    let JoinToken::Create { node, ttl, out } = command;
    let request = CreateJoinTokenRequest { node: node.to_string(), ttl_s: ttl.as_secs() };
    let answer = EnrollmentClient::new(channel).create_join_token(request).await.map_err(refused)?.into_inner();
    let value = json!({ "node": node, "expires_ms": answer.expires_ms });
    hand_over(&answer.join_token, "join_token", value, out.as_deref(), output, String::new)
}

pub(super) async fn bootstrap(command: Bootstrap, channel: Channel, output: Format) -> Result<(), Failure> {
    let Bootstrap::Disable { reason } = command;
    let request = DisableBootstrapTokenRequest { reason };
    let answer = AdminClient::new(channel).disable_bootstrap_token(request).await.map_err(refused)?.into_inner();
    output.print(&json!({ "revision": answer.revision }), || {
        "the token that the servers were set up with is disabled".to_owned()
    })
}
