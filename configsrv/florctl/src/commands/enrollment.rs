use std::{
    collections::{BTreeMap, btree_map},
    fs,
};

use configsrv_fleet::{
    ClusterName, Digest, SigningKey, SpiffeId,
    enrollment::{Entry, FILE, Kind, Log, Rebased},
};
use holdfast_proto::iam::{EnrollmentEvent, ListEnrollmentsRequest, Page, enrollment_client::EnrollmentClient};
use serde_json::json;
use time::OffsetDateTime;

use crate::{
    cli::Enrollment,
    failure::{Code, Failure},
    output::Format,
    remote::{connect, refused},
    settings::Settings,
    workspace::{Workspace, replace},
};

const PAGE: u32 = 500;
/// Who issued, for the log: these certificates are the servers' work.
const SERVERS: &str = "holdfast";

pub(super) async fn run(command: &Enrollment, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let (Enrollment::Pull { repository, sign_key } | Enrollment::Rebase { repository, sign_key }) = command;
    let workspace = Workspace::open(repository)?;
    let key = sign_key.as_deref().map(|path| workspace.signing_key(path)).transpose()?;
    match command {
        Enrollment::Pull { .. } => pull(&workspace, key.as_ref(), settings, output).await,
        Enrollment::Rebase { .. } => rebase(&workspace, key.as_ref(), output),
    }
}

fn rebase(workspace: &Workspace, key: Option<&SigningKey>, output: Format) -> Result<Code, Failure> {
    let path = workspace.root.join(FILE);
    let bytes = fs::read(&path).map_err(|error| Failure::file(&path, &error))?;
    let Rebased { text, moved } = Log::rebase(&bytes, &workspace.signers()?, key)?;
    if text.as_bytes() != bytes {
        replace(&path, text.as_bytes())?;
    }
    output.print(&json!({ "moved": moved }), || match moved.as_slice() {
        [] => format!("{FILE} is one chain"),
        moved => {
            let lines: String =
                moved.iter().map(|event| format!("  {}: {}\n", event.seq, event.spiffe_id.subject())).collect();
            format!("lines with new numbers in {FILE}:\n{lines}")
        }
    })?;
    Ok(Code::Done)
}

async fn pull(
    workspace: &Workspace,
    key: Option<&SigningKey>,
    settings: &Settings,
    output: Format,
) -> Result<Code, Failure> {
    let cluster = workspace.cluster()?;
    let mut log = workspace.repo.log.clone().unwrap_or_default();
    let mut lines = String::new();
    let (mut added, mut revoked) = (Vec::new(), Vec::new());
    for (entry, node) in news(&cluster, &log, enrollments(settings).await?)? {
        match entry.event {
            Kind::Sign => added.push(node),
            Kind::Revoke => revoked.push(node),
        }
        lines += &match key {
            Some(key) => log.append_signed(entry, key)?,
            None => log.append(entry)?,
        };
    }
    workspace.append_log(&lines)?;
    output.print(&json!({ "added": added, "revoked": revoked }), || {
        let told = |what: &str, nodes: &[String]| match nodes {
            [] => String::new(),
            nodes => format!("{what}: {}\n", nodes.join(", ")),
        };
        match lines.is_empty() {
            true => "enrollment.log has everything that the servers know".to_owned(),
            false => told("added to enrollment.log", &added) + &told("revoked", &revoked),
        }
    })?;
    Ok(Code::Done)
}

/// What the log does not have yet, each with its node. A node that renews keeps its key: the key is out only if no
/// certificate for it counts.
fn news(cluster: &ClusterName, log: &Log, events: Vec<EnrollmentEvent>) -> Result<Vec<(Entry, String)>, Failure> {
    let mut by_key = BTreeMap::<(String, String), EnrollmentEvent>::new();
    for event in events {
        match by_key.entry((event.node.clone(), event.key_sha256.clone())) {
            btree_map::Entry::Vacant(place) => {
                place.insert(event);
            }
            btree_map::Entry::Occupied(mut place) if !place.get().revoked.is_empty() => {
                place.insert(event);
            }
            btree_map::Entry::Occupied(_) => {}
        }
    }
    let mut news = Vec::new();
    for event in by_key.into_values() {
        let signed = entry(cluster, &event)?;
        let last = log.last(&signed.fingerprint_sha256).map(|last| last.event);
        let revoke = Entry { event: Kind::Revoke, reason: Some(event.revoked.clone()), ..signed.clone() };
        match (last, event.revoked.is_empty()) {
            (Some(Kind::Sign), true) | (Some(Kind::Revoke), false) => {}
            (None | Some(Kind::Revoke), true) => news.push((signed, event.node)),
            (Some(Kind::Sign), false) => news.push((revoke, event.node)),
            // It came and went between two looks, which the log is to tell.
            (None, false) => news.extend([(signed, event.node.clone()), (revoke, event.node)]),
        }
    }
    Ok(news)
}

async fn enrollments(settings: &Settings) -> Result<Vec<EnrollmentEvent>, Failure> {
    let mut client = EnrollmentClient::new(connect(settings).await?);
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let page = Page { size: PAGE, token };
        let request = ListEnrollmentsRequest { page: Some(page) };
        let answer = client.list_enrollments(request).await.map_err(refused)?.into_inner();
        all.extend(answer.enrollments);
        token = answer.next_page_token;
        if token.is_empty() {
            return Ok(all);
        }
    }
}

fn entry(cluster: &ClusterName, event: &EnrollmentEvent) -> Result<Entry, Failure> {
    let odd = |what: &str| Failure::unexpected(format!("the servers' enrolment of \"{}\": {what}", event.node));
    let at = |ms: u64| {
        i64::try_from(ms / 1000)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or_else(|| odd("a time out of range"))
    };
    let node = event.node.parse().map_err(|_| odd("not a node's name"))?;
    let digest: Digest = format!("sha256:{}", event.key_sha256).parse().map_err(|_| odd("not a key's digest"))?;
    Ok(Entry {
        ts: at(event.enrolled_ms)?,
        event: Kind::Sign,
        spiffe_id: SpiffeId::node(cluster, &node),
        fingerprint_sha256: digest,
        serial: event.serial.clone(),
        not_after: at(event.expires_ms)?,
        operator: SERVERS.to_owned(),
        reason: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(node: &str, key: char, revoked: &str) -> EnrollmentEvent {
        EnrollmentEvent {
            node: node.to_owned(),
            serial: "01".to_owned(),
            key_sha256: key.to_string().repeat(64),
            enrolled_ms: 1_780_000_000_000,
            expires_ms: 1_780_086_400_000,
            join_token_id: String::new(),
            revoked: revoked.to_owned(),
        }
    }

    fn pulled(log: &mut Log, events: &[EnrollmentEvent]) -> Vec<(Kind, String)> {
        let cluster = "quay.test".parse().unwrap();
        let news = news(&cluster, log, events.to_vec()).unwrap();
        news.into_iter()
            .map(|(entry, node)| {
                let kind = entry.event;
                log.append(entry).unwrap();
                (kind, node)
            })
            .collect()
    }

    #[test]
    fn the_log_follows_the_servers() {
        let mut log = Log::default();
        let sign = |node: &str| (Kind::Sign, node.to_owned());
        let revoke = |node: &str| (Kind::Revoke, node.to_owned());
        let both = [event("pier1", 'a', ""), event("pier2", 'b', "")];
        assert_eq!(pulled(&mut log, &both), [sign("pier1"), sign("pier2")]);
        assert_eq!(pulled(&mut log, &both), []);
        // One of two certificates for a key is denied: the key counts.
        assert_eq!(pulled(&mut log, &[event("pier1", 'a', "stolen"), event("pier1", 'a', "")]), []);
        assert_eq!(pulled(&mut log, &[event("pier1", 'a', "stolen")]), [revoke("pier1")]);
        assert_eq!(pulled(&mut log, &[event("pier1", 'a', "stolen")]), []);
        assert_eq!(pulled(&mut log, &[event("pier1", 'a', "")]), [sign("pier1")], "it was allowed again");
        assert_eq!(pulled(&mut log, &[event("pier3", 'c', "sold")]), [sign("pier3"), revoke("pier3")]);
    }
}
