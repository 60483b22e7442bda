//! What a restore must not undo, and its approval.

use std::{fs, path::Path};

use holdfast_proto::iam::{
    ApproveRestoreRequest, ExportStandingsRequest, ListDeniedRequest, MergeStandingsRequest, Page,
    RecoveryStatusRequest, Standing, StatusRequest, admin_client::AdminClient, recovery_client::RecoveryClient,
    trust_client::TrustClient,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::PAGE;
use crate::{
    cli::{Recovery, Revocations},
    failure::Failure,
    output::{Format, moment},
    remote::{Channel, refused},
    workspace::write_private,
};

const FORMAT: &str = "holdfast-revocations/1";
/// What the servers take at once.
const BATCH: usize = 100;

/// What an export holds.
#[derive(Serialize, Deserialize)]
struct Export {
    format: String,
    exported_ms: u64,
    bootstrap_token_disabled: bool,
    denied_serials: Vec<String>,
    principals: Vec<Exported>,
}

#[derive(Serialize, Deserialize)]
struct Exported {
    id: String,
    disabled: bool,
    access_keys: Vec<String>,
}

pub(super) async fn run(command: Recovery, channel: Channel, output: Format) -> Result<(), Failure> {
    match command {
        Recovery::Status => status(channel, output).await,
        Recovery::Approve { revocations, keep_bootstrap_token } => {
            approve(channel, revocations.as_deref(), keep_bootstrap_token, output).await
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
    let mut client = RecoveryClient::new(channel);
    let mut disable_bootstrap_token = false;
    let (mut disabled, mut revoked, mut denied) = (0, 0, 0);
    if let Some(path) = revocations {
        let export = read(path)?;
        disable_bootstrap_token = export.bootstrap_token_disabled && !keep_bootstrap_token;
        for batch in batches(export) {
            let merged = client.merge(batch).await.map_err(refused)?.into_inner();
            disabled += merged.disabled;
            revoked += merged.revoked;
            denied += merged.denied;
        }
    }
    let approved =
        client.approve(ApproveRestoreRequest { disable_bootstrap_token }).await.map_err(refused)?.into_inner();
    let value = json!({
        "revision": approved.revision,
        "disabled": disabled,
        "revoked": revoked,
        "denied": denied,
        "join_tokens": approved.join_tokens,
        "bootstrap_token_disabled": disable_bootstrap_token,
    });
    output.print(&value, || {
        format!(
            "approved; ended before that: {disabled} principals, {revoked} access keys, {denied} certificates, \
             {} join tokens{}",
            approved.join_tokens,
            if disable_bootstrap_token { "; the bootstrap token is disabled" } else { "" }
        )
    })
}

fn read(path: &Path) -> Result<Export, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let wrong = |reason: String| Failure::usage(format!("{}: {reason}", path.display()));
    let export: Export = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if export.format == FORMAT { Ok(export) } else { Err(wrong(format!("it is no {FORMAT}"))) }
}

/// In parts that the servers take.
fn batches(export: Export) -> Vec<MergeStandingsRequest> {
    let Export { exported_ms, denied_serials, principals, .. } = export;
    let standings: Vec<_> = principals
        .into_iter()
        .map(|Exported { id, disabled, access_keys }| Standing { principal: id, disabled, access_keys })
        .collect();
    let parts = standings.len().max(denied_serials.len()).div_ceil(BATCH).max(1);
    let part = |number: usize| MergeStandingsRequest {
        standings: standings.chunks(BATCH).nth(number).unwrap_or_default().to_vec(),
        exported_ms,
        denied_serials: denied_serials.chunks(BATCH).nth(number).unwrap_or_default().to_vec(),
    };
    (0..parts).map(part).collect()
}

pub(super) async fn revocations(command: Revocations, channel: Channel, output: Format) -> Result<(), Failure> {
    let Revocations::Export { out } = command;
    let export = export(channel).await?;
    let text = serde_json::to_string_pretty(&export).map_err(Failure::unexpected)?;
    write_private(&out, &format!("{text}\n"))?;
    let value = json!({ "file": out, "principals": export.principals.len(), "denied": export.denied_serials.len() });
    output.print(&value, || format!("written to {}", out.display()))
}

async fn export(channel: Channel) -> Result<Export, Failure> {
    let status = AdminClient::new(channel.clone()).status(StatusRequest {}).await.map_err(refused)?.into_inner();
    let mut export = Export {
        format: FORMAT.to_owned(),
        exported_ms: u64::MAX,
        bootstrap_token_disabled: !status.bootstrap_token_enabled,
        denied_serials: Vec::new(),
        principals: Vec::new(),
    };
    let (mut client, mut token) = (RecoveryClient::new(channel.clone()), String::new());
    loop {
        let page = Some(Page { size: PAGE, token });
        let page = client.export(ExportStandingsRequest { page }).await.map_err(refused)?.into_inner();
        // The first page's: what comes later knows more than it says.
        export.exported_ms = export.exported_ms.min(page.exported_ms);
        export.principals.extend(page.standings.into_iter().map(|standing| Exported {
            id: standing.principal,
            disabled: standing.disabled,
            access_keys: standing.access_keys,
        }));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let (mut client, mut page_token) = (TrustClient::new(channel), String::new());
    loop {
        let request = ListDeniedRequest { page_size: PAGE, page_token };
        let page = client.list_denied(request).await.map_err(refused)?.into_inner();
        export.denied_serials.extend(page.denied.into_iter().map(|denied| denied.serial));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(export);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_of_the_parts() {
        let principal = |number: usize| Exported { id: format!("user/u{number}"), disabled: true, access_keys: vec![] };
        let export = |principals: usize, denied: usize| Export {
            format: FORMAT.to_owned(),
            exported_ms: 7,
            bootstrap_token_disabled: true,
            denied_serials: (0..denied).map(|number| format!("{number:x}")).collect(),
            principals: (0..principals).map(principal).collect(),
        };
        for (principals, denied, parts) in [(0, 0, 1), (1, 0, 1), (100, 1, 1), (101, 0, 2), (3, 250, 3)] {
            let batches = batches(export(principals, denied));
            assert_eq!(batches.len(), parts);
            assert_eq!(batches.iter().map(|batch| batch.standings.len()).sum::<usize>(), principals);
            assert_eq!(batches.iter().map(|batch| batch.denied_serials.len()).sum::<usize>(), denied);
        }
    }
}
