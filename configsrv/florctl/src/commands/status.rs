use std::time::Duration;

use futures::future::join_all;
use holdfast_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, Member, MemberListRequest, StatusRequest, StatusResponse,
    alarm_request::AlarmAction, cluster_client::ClusterClient, maintenance_client::MaintenanceClient,
};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    failure::{Code, Failure},
    output::{Format, Table, or_dash},
    remote::{Http, connect_if_known, refused},
    settings::Settings,
};

/// A server as it describes itself, or why it does not.
#[derive(Default, Serialize)]
struct Server {
    name: String,
    id: String,
    api: Option<String>,
    leader: bool,
    learner: bool,
    version: Option<String>,
    term: Option<u64>,
    /// Entries that others know to be committed and this server does not have in its state.
    lag: Option<u64>,
    db_bytes: Option<i64>,
    db_in_use_bytes: Option<i64>,
    /// 99 of 100 syncs of the log took at most so long.
    fsync_p99_ms: Option<f64>,
    problems: Vec<String>,
    #[serde(skip)]
    applied: u64,
    #[serde(skip)]
    committed: u64,
}

/// A server that takes longer is one of the problems that are looked for here.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(settings: &Settings, output: Format) -> Result<Code, Failure> {
    let members = in_time(&settings.api, members(settings)).await?;
    let (mut servers, alarms) = tokio::join!(
        join_all(members.into_iter().map(|member| ask(settings, member))),
        in_time(&settings.api, alarms(settings))
    );
    // Without a quorum nobody answers this; each server tells the alarms that it knows as well.
    for alarm in alarms.unwrap_or_default() {
        let id = format!("{:x}", alarm.member_id);
        let kind = AlarmType::try_from(alarm.alarm).map_or("alarm", |kind| kind.as_str_name()).to_owned();
        let told = |server: &Server| server.problems.iter().any(|problem| problem.contains(&kind));
        if let Some(server) = servers.iter_mut().find(|server| server.id == id && !told(server)) {
            server.problems.push(kind);
        }
    }
    let committed = servers.iter().map(|server| server.committed).max().unwrap_or_default();
    for server in servers.iter_mut().filter(|server| server.version.is_some()) {
        server.lag = Some(committed.saturating_sub(server.applied));
    }
    output.print(&servers, || table(&servers))?;
    Ok(Code::Done)
}

async fn members(settings: &Settings) -> Result<Vec<Member>, Failure> {
    let mut client = ClusterClient::new(connect_if_known(settings, &settings.api).await?);
    Ok(client.member_list(MemberListRequest::default()).await.map_err(refused)?.into_inner().members)
}

async fn alarms(settings: &Settings) -> Result<Vec<AlarmMember>, Failure> {
    let mut client = MaintenanceClient::new(connect_if_known(settings, &settings.api).await?);
    let request = AlarmRequest { action: AlarmAction::Get.into(), ..AlarmRequest::default() };
    Ok(client.alarm(request).await.map_err(refused)?.into_inner().alarms)
}

/// What `asked` of the server at `api` says, if it says it soon: one that is frozen accepts connections, too.
async fn in_time<T>(api: &str, asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = |_| {
        Failure::new(Code::Unreachable, format!("{api}: no answer within {} s", PATIENCE.as_secs()))
            .hint("--api (or HOLDFAST_API) can name another of the servers")
    };
    timeout(PATIENCE, asked).await.map_err(late)?
}

async fn ask(settings: &Settings, member: Member) -> Server {
    let api = member.client_ur_ls.first().cloned();
    let mut server = Server {
        name: member.name,
        id: format!("{:x}", member.id),
        api: api.clone(),
        learner: member.is_learner,
        ..Server::default()
    };
    let Some(api) = api else {
        server.problems.push("has never started".to_owned());
        return server;
    };
    match in_time(&api, status(settings, &api)).await {
        Ok(status) => server.describe(status),
        Err(failure) => {
            server.problems.push(failure.message().to_owned());
            return server;
        }
    }
    if let Ok(http) = Http::at(settings, &api)
        && let Ok(metrics) = in_time(&api, http.text("/metrics")).await
    {
        if metrics.lines().any(|line| line == RESTORE_WAITS) {
            server.problems.push("a restore waits for its approval (florctl iam restore approve)".to_owned());
        }
        server.fsync_p99_ms = p99(&metrics, FSYNC).map(|seconds| seconds * 1_000.0);
    }
    server
}

async fn status(settings: &Settings, api: &str) -> Result<StatusResponse, Failure> {
    let mut client = MaintenanceClient::new(connect_if_known(settings, api).await?);
    Ok(client.status(StatusRequest {}).await.map_err(refused)?.into_inner())
}

impl Server {
    fn describe(&mut self, status: StatusResponse) {
        self.leader = status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader);
        self.learner |= status.is_learner;
        self.version = Some(status.version);
        self.term = Some(status.raft_term);
        (self.applied, self.committed) = (status.raft_applied_index, status.raft_index);
        (self.db_bytes, self.db_in_use_bytes) = (Some(status.db_size), Some(status.db_size_in_use));
        self.problems.extend(status.errors);
    }

    fn role(&self) -> &'static str {
        match (self.version.is_some(), self.leader, self.learner) {
            (false, ..) => "-",
            (_, true, _) => "leader",
            (.., true) => "learner",
            _ => "follower",
        }
    }
}

const RESTORE_WAITS: &str = "holdfast_iam_restore_waits 1";
const FSYNC: &str = "etcd_disk_wal_fsync_duration_seconds_bucket";

/// The upper bound of the bucket in which the 99th of 100 observations lies; none without observations, or where it is
/// above every bound.
fn p99(metrics: &str, histogram: &str) -> Option<f64> {
    let mut buckets = Vec::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix(histogram)) {
        let bound = line.split_once("le=\"")?.1.split_once('"')?.0;
        let count: f64 = line.rsplit_once(' ')?.1.parse().ok()?;
        buckets.push((bound.parse::<f64>().unwrap_or(f64::INFINITY), count));
    }
    let all = buckets.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    let found = buckets.into_iter().find(|(_, count)| all > 0.0 && *count >= all * 0.99)?;
    Some(found.0).filter(|bound| bound.is_finite())
}

fn table(servers: &[Server]) -> String {
    let mut table = Table::new(&["SERVER", "API", "ROLE", "LAG", "SIZE", "IN USE", "FSYNC P99", "VERSION", "PROBLEMS"]);
    for server in servers {
        table.row([
            server.name.clone(),
            or_dash(server.api.as_ref()),
            server.role().to_owned(),
            or_dash(server.lag),
            or_dash(server.db_bytes.map(size)),
            or_dash(server.db_in_use_bytes.map(size)),
            or_dash(server.fsync_p99_ms.map(|ms| format!("<= {ms} ms"))),
            or_dash(server.version.as_ref()),
            server.problems.join("; "),
        ]);
    }
    table.to_string()
}

fn size(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.*} {}", usize::from(unit > 0), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_a_hundred_lies_in_a_bucket() {
        let metrics = "# HELP\nx_bucket{le=\"0.001\"} 90\nx_bucket{le=\"0.002\"} 99\nx_bucket{le=\"0.004\"} 100\n\
                       x_bucket{le=\"+Inf\"} 100\nx_count 100\n";
        assert_eq!(p99(metrics, "x_bucket"), Some(0.002));
        assert_eq!(p99("x_bucket{le=\"0.001\"} 1\nx_bucket{le=\"+Inf\"} 100\n", "x_bucket"), None);
        assert_eq!(p99("", "x_bucket"), None);
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([0, 1023, 1536, 5 << 30].map(size), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}
