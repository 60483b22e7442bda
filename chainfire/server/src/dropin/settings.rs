use std::{path::PathBuf, time::Duration};

use chainfire_raft::{Cluster, LOG_DIRECTIVES, Member, PeerTls, Timing};
use holdfast_rpc::{KnownBy, Limits as Connections, TlsFiles};
use holdfast_telemetry::{Format, Output};

use super::{Flags, self_signed::SelfSigned, tls, url::Url};
use crate::{AuthSettings, AutoCompaction, Config, Limits, Profile};

/// What the drop-in server runs with: [`Flags`] after every check.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: String,
    pub data_dir: PathBuf,
    pub cluster: Cluster,
    /// The member is expected to have data.
    pub(super) existing: bool,
    /// The member has lost its data.
    pub(super) rejoin_wiped: bool,
    pub(super) listen_clients: Vec<Url>,
    /// Where HTTP is served, if not where gRPC is.
    pub(super) listen_http: Vec<Url>,
    pub(super) listen_metrics: Vec<Url>,
    /// Offer the services in JSON.
    pub(super) gateway: bool,
    pub(super) listen_peers: Url,
    /// `http` or `https`.
    pub(super) peer_scheme: &'static str,
    pub(super) client_urls: Vec<String>,
    pub(super) client_tls: Option<TlsFiles>,
    pub(super) peer_tls: Option<PeerTls>,
    /// Certificates to make before the ports open.
    pub(super) self_signed: Vec<SelfSigned>,
    pub(super) timing: Timing,
    pub(super) limits: Limits,
    /// What clients' connections may do.
    pub(super) connections: Connections,
    pub(super) snapshot_every: u64,
    pub(super) progress_interval: Duration,
    pub(super) auto_compaction: Option<AutoCompaction>,
    pub(super) auto_disarm: bool,
    pub(super) corrupt_check: Option<Duration>,
    pub(super) lease_checkpoints: Option<Duration>,
    pub(super) initial_corrupt_check: bool,
    pub(super) profile: Profile,
    /// A unary call that takes longer is worth a line in the log.
    pub(super) slow_call: Duration,
    pub(super) auth: AuthSettings,
    /// A filter for the log.
    pub log_filter: String,
    pub log_format: Format,
    pub log_outputs: Vec<Output>,
    /// What the flags say that is not done as said.
    pub warnings: Vec<String>,
}

/// The flags contradict each other, or say something that this server cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub(super) String);

pub(super) fn invalid<T>(message: impl Into<String>) -> Result<T, SettingsError> {
    Err(SettingsError(message.into()))
}

impl TryFrom<Flags> for Settings {
    type Error = SettingsError;

    fn try_from(flags: Flags) -> Result<Self, SettingsError> {
        let [listen_peers] = flags.listen_peer_urls.as_slice() else {
            return invalid("--listen-peer-urls: exactly one URL is supported");
        };
        let (members, peers_secure) = members(&flags)?;
        let checkpoints = flags.enable_lease_checkpoint || gate(&flags, "LeaseCheckpoint")?;
        let data_dir = flags.data_dir.clone().unwrap_or_else(|| format!("{}.etcd", flags.name).into());
        let tls = tls::ports(&flags, &data_dir, peers_secure && members.len() > 1)?;
        let mut warnings: Vec<_> = tls.warning.into_iter().collect();
        if !AuthSettings::is_cost(flags.bcrypt_cost) {
            let given = flags.bcrypt_cost;
            warnings.push(format!("--bcrypt-cost must be 4 to 31; the default is used instead of {given}"));
        }
        Ok(Self {
            data_dir,
            cluster: Cluster { token: flags.initial_cluster_token.clone(), members },
            existing: flags.initial_cluster_state == "existing",
            rejoin_wiped: flags.rejoin_wiped,
            listen_peers: listen_peers.clone(),
            peer_scheme: if peers_secure { "https" } else { "http" },
            client_urls: flags.advertise_client_urls.iter().map(Url::to_string).collect(),
            client_tls: tls.clients,
            peer_tls: tls.peers,
            self_signed: tls.self_signed,
            timing: timing(&flags)?,
            limits: limits(&flags)?,
            connections: connections(&flags)?,
            snapshot_every: flags.snapshot_count.max(1),
            progress_interval: progress_interval(&flags.watch_progress_notify_interval)?,
            auth: auth(&flags)?,
            auto_compaction: auto_compaction(&flags.auto_compaction_mode, &flags.auto_compaction_retention)?,
            auto_disarm: flags.quota_auto_disarm,
            corrupt_check: interval("--corrupt-check-time", &flags.corrupt_check_time)?,
            lease_checkpoints: checkpoints.then_some(Config::LEASE_CHECKPOINTS),
            initial_corrupt_check: flags.initial_corrupt_check || gate(&flags, "InitialCorruptCheck")?,
            slow_call: slow_call(&flags.warning_unary_request_duration)?,
            profile: Profile::named(&flags.emulate_version).unwrap_or_default(),
            log_filter: match flags.log_level.as_str() {
                "debug" => "debug".to_owned(),
                level @ ("info" | "warn") => format!("{level},{LOG_DIRECTIVES}"),
                _ => "error".to_owned(),
            },
            warnings,
            log_outputs: flags.log_outputs.iter().map(|output| log_output(output)).collect(),
            log_format: if flags.log_format == "console" { Format::Text } else { Format::Zap },
            name: flags.name,
            listen_clients: flags.listen_client_urls,
            listen_http: flags.listen_client_http_urls,
            gateway: flags.enable_grpc_gateway,
            listen_metrics: flags.listen_metrics_urls,
        })
    }
}

/// What systemd starts has its journal behind standard error.
fn log_output(word: &str) -> Output {
    match word {
        "default" | "stderr" | "systemd/journal" => Output::Stderr,
        "stdout" => Output::Stdout,
        path => Output::File(path.into()),
    }
}

/// All members, and whether their peer URLs are https.
fn members(flags: &Flags) -> Result<(Vec<Member>, bool), SettingsError> {
    let mut found = Vec::new();
    if flags.initial_cluster.is_empty() {
        let [own] = flags.initial_advertise_peer_urls.as_slice() else {
            return invalid("--initial-advertise-peer-urls: exactly one URL is supported");
        };
        found.push((flags.name.clone(), own.clone()));
    }
    for entry in &flags.initial_cluster {
        let Some((name, url)) = entry.split_once('=') else {
            return invalid(format!("--initial-cluster: {entry:?} is not name=URL"));
        };
        let url: Url = url.parse().map_err(|reason| SettingsError(format!("--initial-cluster: {reason}")))?;
        if found.iter().any(|(known, _)| known == name) {
            return invalid(format!("--initial-cluster: {name} has more than one URL, which is not supported"));
        }
        found.push((name.to_owned(), url));
    }
    let secure = found.iter().any(|(_, url)| url.secure);
    if secure && !found.iter().all(|(_, url)| url.secure) {
        return invalid("--initial-cluster: peer URLs must be all http or all https");
    }
    if !found.iter().any(|(name, _)| *name == flags.name) {
        return invalid(format!("--initial-cluster has no member called {}", flags.name));
    }
    let member = |(name, url): (String, Url)| Member { name, address: url.authority };
    Ok((found.into_iter().map(member).collect(), secure))
}

fn timing(flags: &Flags) -> Result<Timing, SettingsError> {
    let heartbeat = Duration::from_millis(flags.heartbeat_interval);
    let election = Duration::from_millis(flags.election_timeout);
    if heartbeat.is_zero() || election < heartbeat * 5 {
        return invalid("--election-timeout must be at least five times --heartbeat-interval");
    }
    if election > Duration::from_secs(50) {
        return invalid("--election-timeout must be at most 50000");
    }
    Ok(Timing { heartbeat, election_min: election, election_max: election * 2 })
}

fn limits(flags: &Flags) -> Result<Limits, SettingsError> {
    if flags.max_request_bytes as usize > Limits::LARGEST_REQUEST {
        return invalid(format!("--max-request-bytes must be at most {}", Limits::LARGEST_REQUEST));
    }
    let quota_bytes = match flags.quota_backend_bytes {
        0 => Limits::default().quota_bytes,
        bytes => u64::try_from(bytes).ok(),
    };
    Ok(Limits { request_bytes: flags.max_request_bytes as usize, txn_ops: flags.max_txn_ops as usize, quota_bytes })
}

/// In a drop-in server everybody is welcome who gets as far as a request.
fn connections(flags: &Flags) -> Result<Connections, SettingsError> {
    let timeout = interval("--grpc-keepalive-timeout", &flags.grpc_keepalive_timeout)?;
    let defaults = Connections::default();
    Ok(Connections {
        streams: flags.max_concurrent_streams,
        // As in etcd, either of them can switch pings off.
        ping_interval: interval("--grpc-keepalive-interval", &flags.grpc_keepalive_interval)?
            .filter(|_| timeout.is_some()),
        ping_timeout: timeout.unwrap_or(defaults.ping_timeout),
        known_by: KnownBy::Request,
        ..defaults
    })
}

/// A certificate names a user where every client must show one.
fn auth(flags: &Flags) -> Result<AuthSettings, SettingsError> {
    // 0 is etcd's word for its default.
    let ttl = if flags.auth_token_ttl == 0 { 300 } else { flags.auth_token_ttl };
    let ttl = Duration::from_secs(ttl.into());
    let settings = AuthSettings::new(&flags.auth_token, ttl, flags.bcrypt_cost, flags.client_cert_auth, duration);
    settings.map_err(|error| SettingsError(format!("--auth-token: {error}")))
}

fn progress_interval(text: &str) -> Result<Duration, SettingsError> {
    let interval = duration(text).ok_or_else(|| SettingsError(format!("{text:?} is not a time such as 10m")))?;
    if interval < Duration::from_millis(100) {
        return invalid("--watch-progress-notify-interval must be at least 100ms");
    }
    Ok(interval)
}

fn slow_call(text: &str) -> Result<Duration, SettingsError> {
    let invalid = || SettingsError(format!("--warning-unary-request-duration: {text:?} is not a time such as 300ms"));
    duration(text).ok_or_else(invalid)
}

/// Whether a feature gate is opened.
fn gate(flags: &Flags, name: &str) -> Result<bool, SettingsError> {
    let mut open = false;
    for given in &flags.feature_gates {
        match given.split_once('=') {
            Some((gate, "true")) => open |= gate == name,
            Some((_, "false")) => {}
            _ => return invalid(format!("--feature-gates: {given:?} is not name=true or name=false")),
        }
    }
    Ok(open)
}

/// A time, or none for 0.
fn interval(flag: &str, text: &str) -> Result<Option<Duration>, SettingsError> {
    if text == "0" {
        return Ok(None);
    }
    let interval = duration(text).ok_or_else(|| SettingsError(format!("{flag}: {text:?} is not a time such as 4h")))?;
    Ok(Some(interval).filter(|interval| !interval.is_zero()))
}

fn auto_compaction(mode: &str, retention: &str) -> Result<Option<AutoCompaction>, SettingsError> {
    let number: Option<u64> = retention.parse().ok();
    if number == Some(0) {
        return Ok(None);
    }
    let invalid = || SettingsError(format!("--auto-compaction-retention: {retention:?} is not valid with mode {mode}"));
    if mode == "revision" {
        return number.map(|keep| Some(AutoCompaction::Revisions(keep))).ok_or_else(invalid);
    }
    // A bare number is hours.
    let period = match number {
        Some(hours) => Duration::from_secs(hours.saturating_mul(3_600)),
        None => duration(retention).ok_or_else(invalid)?,
    };
    Ok(Some(AutoCompaction::Period(period)).filter(|_| !period.is_zero()))
}

/// A time as Go writes it: numbers with a unit, `ns` to `h`, one after the other.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn settings(args: &[&str]) -> Result<Settings, SettingsError> {
        Flags::parse_from_etcd(args.iter().map(OsString::from)).unwrap().0.try_into()
    }

    #[test]
    fn without_flags_it_is_a_default_etcd() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.data_dir, PathBuf::from("default.etcd"));
        assert_eq!(settings.cluster.token, "etcd-cluster");
        let [member] = settings.cluster.members.as_slice() else { panic!("one member") };
        assert_eq!((member.name.as_str(), member.address.as_str()), ("default", "localhost:2380"));
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.timing, Timing::default());
    }

    #[test]
    fn members_come_in_the_order_of_the_flag() {
        let cluster = "--initial-cluster=a=http://a:2380,b=http://b:2380,c=http://c:2380";
        let settings = settings(&["--name=b", cluster]).unwrap();
        let names: Vec<_> = settings.cluster.members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn contradictions_are_named() {
        let text = |args: &[&str]| settings(args).unwrap_err().to_string();
        assert!(text(&["--initial-cluster=a=http://a:2380"]).contains("no member called default"));
        assert!(text(&["--listen-client-urls=https://localhost:2379"]).contains("--cert-file"));
        assert!(text(&["--election-timeout=200"]).contains("--heartbeat-interval"));
        assert!(text(&["--initial-cluster=default=http://a:1,b=https://b:1"]).contains("all https"));
    }

    #[test]
    fn the_quota_is_two_gibibytes_or_what_is_said_or_none() {
        let quota = |flag: &str| settings(&[flag]).unwrap().limits.quota_bytes;
        assert_eq!(quota("--quota-backend-bytes=0"), Some(2 << 30));
        assert_eq!(quota("--quota-backend-bytes=8589934592"), Some(8 << 30));
        assert_eq!(quota("--quota-backend-bytes=-1"), None);
    }

    #[test]
    fn checks_and_checkpoints_are_asked_for_by_flag_or_by_gate() {
        let none = settings(&[]).unwrap();
        assert_eq!((none.initial_corrupt_check, none.corrupt_check, none.lease_checkpoints), (false, None, None));
        let gates = settings(&["--feature-gates=InitialCorruptCheck=true,LeaseCheckpoint=true,Other=false"]).unwrap();
        assert!(gates.initial_corrupt_check && gates.lease_checkpoints == Some(Config::LEASE_CHECKPOINTS));
        let flags = ["--experimental-corrupt-check-time=4h", "--experimental-enable-lease-checkpoint"];
        let flags = settings(&flags).unwrap();
        assert_eq!(flags.corrupt_check, Some(Duration::from_secs(4 * 3_600)));
        assert_eq!(flags.lease_checkpoints, Some(Config::LEASE_CHECKPOINTS));
        assert!(settings(&["--feature-gates=LeaseCheckpoint"]).unwrap_err().to_string().contains("name=true"));
    }

    #[test]
    fn tokens_and_passwords_are_as_the_flags_say() {
        let auth = |args: &[&str]| settings(args).unwrap().auth;
        assert_eq!(auth(&[]), AuthSettings::default());
        assert_eq!(auth(&["--auth-token-ttl=0"]).token_ttl, Duration::from_secs(300));
        assert_eq!(auth(&["--auth-token-ttl=7"]).token_ttl, Duration::from_secs(7));
        assert_ne!(auth(&["--bcrypt-cost=4"]), AuthSettings::default());
        assert_ne!(auth(&["--auth-token=jwt,sign-method=HS256"]), AuthSettings::default());
        let error = settings(&["--auth-token=basic"]).unwrap_err().to_string();
        assert!(error.contains("--auth-token") && error.contains("simple or jwt"), "{error}");
    }

    #[test]
    fn lines_go_where_the_flag_says() {
        assert_eq!(settings(&[]).unwrap().log_outputs, [Output::Stderr]);
        let flag = "--log-outputs=stdout,systemd/journal,/var/log/etcd.log";
        let outputs = [Output::Stdout, Output::Stderr, Output::File("/var/log/etcd.log".into())];
        assert_eq!(settings(&[flag]).unwrap().log_outputs, outputs);
    }

    #[test]
    fn slow_is_what_the_flag_says() {
        assert_eq!(settings(&[]).unwrap().slow_call, Duration::from_millis(300));
        let flag = "--experimental-warning-unary-request-duration=1µs";
        assert_eq!(settings(&[flag]).unwrap().slow_call, Duration::from_micros(1));
        assert!(settings(&["--warning-unary-request-duration=soon"]).is_err());
    }

    #[test]
    fn retention_is_hours_revisions_or_a_time() {
        let hours = |hours: u64| Some(AutoCompaction::Period(Duration::from_secs(hours * 3_600)));
        assert_eq!(auto_compaction("periodic", "2"), Ok(hours(2)));
        assert_eq!(auto_compaction("periodic", "1h30m"), Ok(Some(AutoCompaction::Period(Duration::from_secs(5_400)))));
        assert_eq!(auto_compaction("revision", "1000"), Ok(Some(AutoCompaction::Revisions(1_000))));
        assert_eq!(auto_compaction("periodic", "0"), Ok(None));
        assert!(auto_compaction("revision", "5m").is_err());
        assert!(auto_compaction("periodic", "soon").is_err());
    }
}
