use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use holdfast_proto::iam::{
    AddRootRequest, AllowRequest, CheckRequest, CheckResponse, Denied, DenyRequest, Enforced, IssueWithRequest,
    ListDeniedRequest, ListRootsRequest, RequestCertificateRequest, RequestCertificateResponse, RootsResponse,
    StepRootRequest, trust_client::TrustClient,
};
use iam_ca::request_pem;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};

use super::{super::ca::write_public, PAGE, mappings};
use crate::{
    cli::{RootStep, Trust},
    failure::Failure,
    output::{self, Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn run(command: Trust, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = TrustClient::new(channel);
    let step = |RootStep { id, dry_run, force }| StepRootRequest { id, dry_run, force, ..StepRootRequest::default() };
    let rehearsed = command.is_rehearsal();
    let answer = match command {
        Trust::List => client.list(ListRootsRequest {}).await,
        Trust::Add { cert, issuing, own_names, dry_run } => {
            let first = |path: Option<PathBuf>| path.as_deref().map(certificate).transpose();
            let (root, issuing) = (first(cert)?.unwrap_or_default(), first(issuing)?.unwrap_or_default());
            client.add_root(AddRootRequest { certificate: root, dry_run, issuing, own_names }).await
        }
        Trust::Request { out } => {
            let answer = client.request_certificate(RequestCertificateRequest {}).await.map_err(refused)?;
            return request(&answer.into_inner(), out.as_deref(), output);
        }
        Trust::IssueWith { root, issuing, dry_run } => {
            client.issue_with(IssueWithRequest { id: root, issuing: certificate(&issuing)?, dry_run }).await
        }
        Trust::Activate { root, now } => client.activate(StepRootRequest { now, ..step(root) }).await,
        Trust::Remove(root) => client.remove(step(root)).await,
        Trust::Distrust(root) => client.distrust(step(root)).await,
        Trust::Purge(root) => client.purge(step(root)).await,
        Trust::Deny { serial, reason } => {
            let answer = client.deny(DenyRequest { serial, reason }).await.map_err(refused)?.into_inner();
            let value = json!({ "revision": answer.revision, "enforced": enforced(&answer.enforced) });
            return output.print(&value, || closed(&answer.enforced));
        }
        Trust::Allow { serial } => {
            let answer = client.allow(AllowRequest { serial }).await.map_err(refused)?.into_inner();
            return output.print(&json!({ "revision": answer.revision }), || "it counts again".to_owned());
        }
        Trust::Mapping(command) => return mappings::run(command, client, output).await,
        Trust::Denied => return denied(client, output).await,
        Trust::Check { cert } => {
            let certificate_chain = certificates(&cert)?.into_iter().map(Into::into).collect();
            let answer = client.check(CheckRequest { certificate_chain }).await.map_err(refused)?.into_inner();
            return verdicts(&answer, output);
        }
    };
    show(&answer.map_err(refused)?.into_inner(), rehearsed, output)
}

impl Trust {
    fn is_rehearsal(&self) -> bool {
        match self {
            Self::Add { dry_run, .. } | Self::IssueWith { dry_run, .. } => *dry_run,
            Self::Activate { root, .. } | Self::Remove(root) | Self::Distrust(root) | Self::Purge(root) => root.dry_run,
            Self::List
            | Self::Request { .. }
            | Self::Deny { .. }
            | Self::Allow { .. }
            | Self::Denied
            | Self::Mapping(_)
            | Self::Check { .. } => false,
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::file(path, &error))?;
    let found = CertificateDer::pem_slice_iter(&bytes).map(|der| der.map(|der| der.to_vec()));
    match found.collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(Failure::usage(format!("{} has no PEM certificate", path.display()))),
    }
}

/// The first of a file.
fn certificate(path: &Path) -> Result<Bytes, Failure> {
    Ok(certificates(path)?.into_iter().next().unwrap_or_default().into())
}

fn request(answer: &RequestCertificateResponse, out: Option<&Path>, output: Format) -> Result<(), Failure> {
    let pem = request_pem(&answer.csr_der);
    let Some(path) = out else { return output::write(pem.as_bytes()) };
    write_public(path, &pem)?;
    let value = json!({ "request": path, "key_id": answer.key_id });
    output.print(&value, || format!("the request for {}: {}", answer.key_id, path.display()))
}

fn show(answer: &RootsResponse, rehearsed: bool, output: Format) -> Result<(), Failure> {
    let roots: Vec<Value> = answer
        .roots
        .iter()
        .map(|root| {
            json!({
                "id": root.id,
                "subject": root.subject,
                "state": root.state,
                "own": root.own,
                "mapped_only": root.mapped_only,
                "added_ms": root.added_ms,
                "activated_ms": root.activated_ms,
                "superseded_ms": root.superseded_ms,
                "removed_ms": root.removed_ms,
                "expires_ms": root.expires_ms,
                "next_step_ms": root.next_step_ms,
                "issuing_serial": (!root.issuing.is_empty()).then_some(&root.issuing_serial),
                "issuing_expires_ms": (!root.issuing.is_empty()).then_some(root.issuing_expires_ms),
            })
        })
        .collect();
    let value = json!({
        "roots": roots,
        "id": answer.id,
        "revision": answer.revision,
        "breaks": answer.breaks,
        "enforced": enforced(&answer.enforced),
        "dry_run": rehearsed,
    });
    output.print(&value, || {
        let mut table =
            Table::new(&["AUTHORITY", "SUBJECT", "STATE", "ISSUES", "VOUCHES FOR", "ENDS", "NEXT STEP FROM"]);
        for root in &answer.roots {
            let marked = if root.id == answer.id { "*" } else { "" };
            table.row([
                format!("{}{marked}", root.id),
                root.subject.clone(),
                root.state.clone(),
                match (root.own, root.issuing.is_empty()) {
                    (true, true) => "yes".to_owned(),
                    (true, false) => format!("below it until {}", moment(Some(root.issuing_expires_ms))),
                    (false, _) => "never".to_owned(),
                },
                if root.mapped_only { "mapped names" } else { "all names" }.to_owned(),
                moment(Some(root.expires_ms)),
                moment(Some(root.next_step_ms)),
            ]);
        }
        let breaks = if answer.breaks.is_empty() { String::new() } else { format!("by force: {}\n", answer.breaks) };
        let rehearsal = if rehearsed { "nothing was changed: this was a rehearsal" } else { "" };
        format!("{table}{breaks}{}{rehearsal}", closed(&answer.enforced))
    })
}

pub(super) fn enforced(servers: &[Enforced]) -> Vec<Value> {
    let server = |one: &Enforced| json!({ "server": one.server, "enforced": one.enforced, "closed": one.closed });
    servers.iter().map(server).collect()
}

/// What each server says of the change.
pub(super) fn closed(servers: &[Enforced]) -> String {
    let lines = servers.iter().map(|server| match server.enforced {
        true => format!("{}: enforced, {} connections closed\n", server.server, server.closed),
        false => format!("{}: has not said yet that it enforces this\n", server.server),
    });
    lines.collect()
}

async fn denied(mut client: TrustClient<Channel>, output: Format) -> Result<(), Failure> {
    let mut found: Vec<Denied> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListDeniedRequest { page_size: PAGE, page_token };
        let page = client.list_denied(request).await.map_err(refused)?.into_inner();
        found.extend(page.denied);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let value = |one: &Denied| json!({ "serial": one.serial, "reason": one.reason, "denied_ms": one.denied_ms, "denied_by": one.denied_by });
    output.print(&found.iter().map(value).collect::<Vec<_>>(), || {
        let mut table = Table::new(&["SERIAL", "DENIED", "BY", "REASON"]);
        for one in &found {
            table.row([one.serial.clone(), moment(Some(one.denied_ms)), one.denied_by.clone(), one.reason.clone()]);
        }
        table.to_string()
    })
}

fn verdicts(answer: &CheckResponse, output: Format) -> Result<(), Failure> {
    let verdicts = answer.verdicts.iter().map(|verdict| {
        json!({
            "when": verdict.when,
            "possible_ms": verdict.possible_ms,
            "principal": verdict.principal,
            "refused": verdict.refused,
        })
    });
    let verdicts: Vec<Value> = verdicts.collect();
    let value = json!({ "serial": answer.serial, "expires_ms": answer.expires_ms, "verdicts": verdicts });
    output.print(&value, || {
        let mut table = Table::new(&["WHEN", "POSSIBLE FROM", "PRINCIPAL", "REFUSED"]);
        for verdict in &answer.verdicts {
            table.row([
                verdict.when.clone(),
                moment(Some(verdict.possible_ms)),
                verdict.principal.clone(),
                verdict.refused.clone(),
            ]);
        }
        table.to_string()
    })
}
