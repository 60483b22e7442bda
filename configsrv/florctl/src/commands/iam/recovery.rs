//! What a restore must not undo, and its approval.

use std::path::Path;

use holdfast_proto::iam::{ApproveRestoreRequest, RecoveryStatusRequest, recovery_client::RecoveryClient};
use serde_json::json;

use super::revocations::{Export, batches, export};
use crate::{
    cli::{Recovery, Revocations},
    failure::Failure,
    output::{Format, moment},
    remote::{Channel, refused},
    workspace::write_private,
};

/// What a merge has ended.
#[derive(Default)]
struct Ended {
    disabled: u32,
    revoked: u32,
    denied: u32,
}

pub(super) async fn run(command: Recovery, channel: Channel, output: Format) -> Result<(), Failure> {
    match command {
        Recovery::Status => status(channel, output).await,
        Recovery::Approve { revocations, without_revocations: _, keep_bootstrap_token } => {
            approve(channel, revocations.as_deref(), keep_bootstrap_token, output).await
        }
        Recovery::Merge { revocations } => {
            let export = Export::read(&revocations)?;
            let ended = merge(&channel, &export).await?;
            let left = export.left(channel).await?;
            let value = json!({
                "disabled": ended.disabled,
                "revoked": ended.revoked,
                "denied": ended.denied,
                "end_by_hand": left,
            });
            output.print(&value, || format!("{}\n{}", ended.told(), by_hand(&left)))
        }
    }
}

async fn status(channel: Channel, output: Format) -> Result<(), Failure> {
    let status = RecoveryClient::new(channel).status(RecoveryStatusRequest {}).await.map_err(refused)?.into_inner();
    let value = json!({
        "waits": status.waits,
        "lineage": status.lineage,
        "noticed_ms": status.noticed_ms,
        "approved_ms": status.approved_ms,
        "approved_by": status.approved_by,
    });
    output.print(&value, || match (status.waits, status.lineage.as_str()) {
        (_, "") => "never restored".to_owned(),
        (true, lineage) => format!("restored at {}: {lineage} waits for approval", moment(Some(status.noticed_ms))),
        (false, lineage) => {
            format!("{lineage} was approved by {} at {}", status.approved_by, moment(Some(status.approved_ms)))
        }
    })
}

async fn approve(
    channel: Channel,
    revocations: Option<&Path>,
    keep_bootstrap_token: bool,
    output: Format,
) -> Result<(), Failure> {
    let export = revocations.map(Export::read).transpose()?;
    let ended = match &export {
        Some(export) => merge(&channel, export).await?,
        None => Ended::default(),
    };
    let disabled = export.as_ref().is_some_and(|export| export.bootstrap_token_disabled);
    let disable_bootstrap_token = disabled && !keep_bootstrap_token;
    let approve = ApproveRestoreRequest { disable_bootstrap_token };
    let approved = RecoveryClient::new(channel.clone()).approve(approve).await.map_err(refused)?.into_inner();
    // The bootstrap token that approved may be disabled by now; then somebody else looks, with `merge`.
    let left = match &export {
        Some(export) if !disable_bootstrap_token => export.left(channel).await?,
        Some(_) | None => Vec::new(),
    };
    let value = json!({
        "revision": approved.revision,
        "disabled": ended.disabled,
        "revoked": ended.revoked,
        "denied": ended.denied,
        "join_tokens": approved.join_tokens,
        "bootstrap_token_disabled": disable_bootstrap_token,
        "end_by_hand": left,
    });
    output.print(&value, || {
        let bootstrap = if disable_bootstrap_token {
            "; the bootstrap token is disabled; as an admin, `florctl iam restore merge FILE` says what is left to do"
        } else {
            ""
        };
        format!("approved; {}, {} join tokens{bootstrap}\n{}", ended.told(), approved.join_tokens, by_hand(&left))
    })
}

async fn merge(channel: &Channel, export: &Export) -> Result<Ended, Failure> {
    let mut client = RecoveryClient::new(channel.clone());
    let mut ended = Ended::default();
    for batch in batches(export) {
        let merged = client.merge(batch).await.map_err(refused)?.into_inner();
        ended.disabled += merged.disabled;
        ended.revoked += merged.revoked;
        ended.denied += merged.denied;
    }
    Ok(ended)
}

impl Ended {
    fn told(&self) -> String {
        let Self { disabled, revoked, denied } = self;
        format!("ended: {disabled} principals, {revoked} access keys, {denied} certificates")
    }
}

/// Commands that end what no merge ends.
fn by_hand(left: &[String]) -> String {
    match left {
        [] => String::new(),
        left => {
            format!("these had ended, too, and count again; replace what is active, then:\n  {}", left.join("\n  "))
        }
    }
}

pub(super) async fn revocations(command: Revocations, channel: Channel, output: Format) -> Result<(), Failure> {
    let Revocations::Export { out } = command;
    let export = export(channel).await?;
    let text = serde_json::to_string_pretty(&export).map_err(Failure::unexpected)?;
    write_private(&out, &format!("{text}\n"))?;
    let value = json!({ "file": out, "principals": export.principals.len(), "denied": export.denied_serials.len() });
    output.print(&value, || format!("written to {}", out.display()))
}
