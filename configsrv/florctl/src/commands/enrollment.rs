use configsrv_fleet::{
    Digest, SpiffeId,
    enrollment::{Entry, Kind},
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
    workspace::Workspace,
};

const PAGE: u32 = 500;
/// Who issued, for the log: these certificates are the servers' work.
const SERVERS: &str = "holdfast";

pub(super) async fn run(command: &Enrollment, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let Enrollment::Pull(repository) = command;
    let workspace = Workspace::open(repository)?;
    let cluster = workspace.cluster()?;
    let mut log = workspace.repo.log.clone().unwrap_or_default();
    let mut lines = String::new();
    let mut added: Vec<String> = Vec::new();
    for event in enrollments(settings).await? {
        let entry = entry(&cluster, &event)?;
        if !log.knows(&entry.fingerprint_sha256) {
            added.push(event.node);
            lines += &log.append(entry)?;
        }
    }
    workspace.append_log(&lines)?;
    output.print(&json!({ "added": added }), || match added.as_slice() {
        [] => "enrollment.log has everything that the servers know".to_owned(),
        nodes => format!("added to enrollment.log: {}", nodes.join(", ")),
    })?;
    Ok(Code::Done)
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

fn entry(cluster: &configsrv_fleet::ClusterName, event: &EnrollmentEvent) -> Result<Entry, Failure> {
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
