//! Identities, over the servers' gRPC interface.

mod break_glass;
mod directory;
mod grants;
mod keys;
mod mappings;
mod policies;
mod recovery;
mod revocations;
mod rotations;
mod secrets;
mod trust;
mod verifiers;

use std::path::Path;

use holdfast_proto::iam::{
    AuthorizeRequest, IntrospectRequest, RevokeGrantRequest, StatusRequest, admin_client::AdminClient,
    authz_client::AuthzClient, tokens_client::TokensClient,
};
use serde_json::{Value, json};

use crate::{
    cli::Iam,
    failure::{Code, Failure},
    output::{Format, Table, moment},
    remote::{Channel, connect, refused},
    settings::Settings,
    workspace::write_private,
};

const PAGE: u32 = 500;

/// Who holds the token that the servers were set up with.
const BOOTSTRAP: &str = "bootstrap/admin";

pub(super) async fn run(command: Iam, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let command = match command {
        // Made and signed where no server is.
        Iam::BreakGlass(command) => return break_glass::run(command, output).map(|()| Code::Done),
        command => command,
    };
    let channel = connect(settings).await?;
    match command {
        Iam::BreakGlass(_) => {}
        Iam::Whoami => whoami(channel, settings, output).await?,
        Iam::Status => status(channel, output).await?,
        Iam::Principal(command) => directory::principal(command, channel, output).await?,
        Iam::Group(command) => directory::group(command, channel, output).await?,
        Iam::Grant { subject, role, scope } => grants::grant(subject, role, scope, channel, output).await?,
        Iam::GrantKeys(grant) => grants::grant_keys(grant, channel, output).await?,
        Iam::RevokeGrant { subject, name, expected_revision } => {
            grants::revoke(RevokeGrantRequest { subject, name, expected_revision }, channel, output).await?;
        }
        Iam::Grants { subject } => grants::list(subject, channel, output).await?,
        Iam::Policy(command) => policies::policy(command, channel, output).await?,
        Iam::Explain(question) => policies::explain(question, channel, output).await?,
        Iam::Token(command) => secrets::token(command, channel, output).await?,
        Iam::Credential(command) => secrets::credential(command, channel, output).await?,
        Iam::JoinToken(command) => secrets::join_token(command, channel, output).await?,
        Iam::Rotate(command) => rotations::run(command, channel, output).await?,
        Iam::Verifiers => verifiers::list(channel, output).await?,
        Iam::Trust(command) => trust::run(command, channel, output).await?,
        Iam::Bootstrap(command) => secrets::bootstrap(command, channel, output).await?,
        Iam::Restore(command) => recovery::run(command, channel, output).await?,
        Iam::Revocations(command) => recovery::revocations(command, channel, output).await?,
        Iam::Key(command) => keys::run(command, channel, output).await?,
    }
    Ok(Code::Done)
}

async fn whoami(channel: Channel, settings: &Settings, output: Format) -> Result<(), Failure> {
    let request = IntrospectRequest { token: settings.token()?.to_owned() };
    let mut answer = TokensClient::new(channel.clone()).introspect(request).await.map_err(refused)?.into_inner();
    if !answer.active {
        // The servers answered, so they know the caller; it is no token of theirs, so it is the bootstrap token.
        BOOTSTRAP.clone_into(&mut answer.principal);
        // Any question does: the answer says which roles are in force.
        let (action, resource) = ("iam.Admin".to_owned(), "iam/*".to_owned());
        let request = AuthorizeRequest { action, resource, ..AuthorizeRequest::default() };
        answer.roles = AuthzClient::new(channel).authorize(request).await.map_err(refused)?.into_inner().roles;
    }
    let value = json!({
        "principal": answer.principal,
        "spiffe_id": answer.spiffe_id,
        "org": answer.org,
        "project": answer.project,
        "roles": answer.roles,
        "jti": answer.jti,
        "expires_ms": answer.expires_ms,
    });
    output.print(&value, || {
        let mut table = Table::new(&["PRINCIPAL", "WITHIN", "ROLES", "TOKEN ENDS"]);
        let within = directory::within(&answer.org, &answer.project);
        table.row([answer.principal.clone(), within, answer.roles.join(" "), moment(Some(answer.expires_ms))]);
        table.to_string()
    })
}

async fn status(channel: Channel, output: Format) -> Result<(), Failure> {
    let status = AdminClient::new(channel).status(StatusRequest {}).await.map_err(refused)?.into_inner();
    let value = json!({
        "state": status.state,
        "reasons": status.reasons,
        "issuer": status.issuer,
        "trust_domain": status.trust_domain,
        "bootstrap_token_enabled": status.bootstrap_token_enabled,
        "dev": status.dev,
        "applied_index": status.applied_index,
        "stale_ms": status.stale_ms,
        "warnings": status.warnings,
    });
    output.print(&value, || {
        let mut table = Table::new(&["STATE", "ISSUER", "TRUST DOMAIN", "BOOTSTRAP TOKEN", "DEV"]);
        table.row([
            status.state.clone(),
            status.issuer.clone(),
            status.trust_domain.clone(),
            if status.bootstrap_token_enabled { "enabled" } else { "disabled" }.to_owned(),
            if status.dev { "yes" } else { "no" }.to_owned(),
        ]);
        let reasons: String = status.reasons.iter().map(|reason| format!("{reason}\n")).collect();
        let warnings: String = status.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        format!("{table}{reasons}{warnings}")
    })
}

/// Shows a secret, or writes it to a file that only its owner can read and says so instead.
fn hand_over(
    secret: &str,
    field: &str,
    mut value: Value,
    out: Option<&Path>,
    output: Format,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    match out {
        Some(path) => {
            write_private(path, &format!("{secret}\n"))?;
            value[field] = json!({ "file": path });
            output.print(&value, || format!("{}written to {}", text(), path.display()))
        }
        None => {
            value[field] = json!(secret);
            output.print(&value, || format!("{}{secret}", text()))
        }
    }
}
