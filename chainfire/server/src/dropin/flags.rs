use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{ArgAction, Command, CommandFactory as _, FromArgMatches as _, Parser, builder::Resettable};

use super::{file, file::FileError, foreign, url::Url};
use crate::Profile;

/// etcd's flags that mean something here. Each can be given in the environment too: `ETCD_` and the flag's name in
/// capitals, with `_` for `-`; a flag wins over the environment, and the last of a repeated flag over the others.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "holdfast chainfire",
    bin_name = "holdfast chainfire",
    display_name = "holdfast chainfire",
    about = "The replicated store alone, in the place of etcd",
    // Scripts look for etcd's line.
    version = format!("{}\netcd Version: {}", env!("CARGO_PKG_VERSION"), Profile::V3_6.server()),
    args_override_self = true
)]
pub struct Flags {
    /// YAML with the flags' names as keys. All other flags, and the environment, are ignored then.
    #[arg(long, env = "ETCD_CONFIG_FILE")]
    config_file: Option<PathBuf>,
    /// This member's name.
    #[arg(long, env = "ETCD_NAME", default_value = "default")]
    pub(super) name: String,
    /// Default: <name>.etcd
    #[arg(long, env = "ETCD_DATA_DIR")]
    pub(super) data_dir: Option<PathBuf>,
    #[arg(
        long,
        env = "ETCD_LISTEN_CLIENT_URLS",
        action = ArgAction::Set,
        value_delimiter = ',',
        default_value = "http://localhost:2379"
    )]
    pub(super) listen_client_urls: Vec<Url>,
    /// Serve HTTP and its JSON gateway here, and on --listen-client-urls nothing but gRPC.
    #[arg(long, env = "ETCD_LISTEN_CLIENT_HTTP_URLS", action = ArgAction::Set, value_delimiter = ',')]
    pub(super) listen_client_http_urls: Vec<Url>,
    /// Offer the services in JSON, too.
    #[arg(long, env = "ETCD_ENABLE_GRPC_GATEWAY", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = ArgAction::Set)]
    pub(super) enable_grpc_gateway: bool,
    #[arg(
        long,
        env = "ETCD_ADVERTISE_CLIENT_URLS",
        action = ArgAction::Set,
        value_delimiter = ',',
        default_value = "http://localhost:2379"
    )]
    pub(super) advertise_client_urls: Vec<Url>,
    #[arg(
        long,
        env = "ETCD_LISTEN_PEER_URLS",
        action = ArgAction::Set,
        value_delimiter = ',',
        default_value = "http://localhost:2380"
    )]
    pub(super) listen_peer_urls: Vec<Url>,
    #[arg(
        long,
        env = "ETCD_INITIAL_ADVERTISE_PEER_URLS",
        action = ArgAction::Set,
        value_delimiter = ',',
        default_value = "http://localhost:2380"
    )]
    pub(super) initial_advertise_peer_urls: Vec<Url>,
    /// All members as name=URL, separated by commas. Default: this one alone.
    #[arg(long, env = "ETCD_INITIAL_CLUSTER", action = ArgAction::Set, value_delimiter = ',')]
    pub(super) initial_cluster: Vec<String>,
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_TOKEN", default_value = "etcd-cluster")]
    pub(super) initial_cluster_token: String,
    /// With `existing` a member without data does not start: members cannot be added to a cluster.
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_STATE", default_value = "new", value_parser = ["new", "existing"])]
    pub(super) initial_cluster_state: String,
    /// This member has lost its data and asks the others, which must be a majority, for its place. Not etcd's.
    #[arg(long)]
    pub(super) rejoin_wiped: bool,
    #[arg(long, env = "ETCD_CERT_FILE")]
    pub(super) cert_file: Option<PathBuf>,
    #[arg(long, env = "ETCD_KEY_FILE")]
    pub(super) key_file: Option<PathBuf>,
    #[arg(long, env = "ETCD_TRUSTED_CA_FILE")]
    pub(super) trusted_ca_file: Option<PathBuf>,
    #[arg(long, env = "ETCD_CLIENT_CERT_AUTH", num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub(super) client_cert_auth: bool,
    /// Encrypt client lines with a certificate of this server's own making, which nobody can verify.
    #[arg(long, env = "ETCD_AUTO_TLS", num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub(super) auto_tls: bool,
    /// Revoked client certificates, in DER or PEM.
    #[arg(long, env = "ETCD_CLIENT_CRL_FILE")]
    pub(super) client_crl_file: Option<PathBuf>,
    #[arg(long, env = "ETCD_PEER_CERT_FILE")]
    pub(super) peer_cert_file: Option<PathBuf>,
    #[arg(long, env = "ETCD_PEER_KEY_FILE")]
    pub(super) peer_key_file: Option<PathBuf>,
    /// What this server shows when it calls a peer, if not --peer-cert-file.
    #[arg(long, env = "ETCD_PEER_CLIENT_CERT_FILE", requires = "peer_client_key_file")]
    pub(super) peer_client_cert_file: Option<PathBuf>,
    #[arg(long, env = "ETCD_PEER_CLIENT_KEY_FILE", requires = "peer_client_cert_file")]
    pub(super) peer_client_key_file: Option<PathBuf>,
    #[arg(long, env = "ETCD_PEER_TRUSTED_CA_FILE")]
    pub(super) peer_trusted_ca_file: Option<PathBuf>,
    /// Encrypt peer lines with certificates of the servers' own making: whoever reaches the peer port is a peer.
    #[arg(long, env = "ETCD_PEER_AUTO_TLS", num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub(super) peer_auto_tls: bool,
    /// Revoked peer certificates, in DER or PEM.
    #[arg(long, env = "ETCD_PEER_CRL_FILE")]
    pub(super) peer_crl_file: Option<PathBuf>,
    /// Years.
    #[arg(long, env = "ETCD_SELF_SIGNED_CERT_VALIDITY", default_value_t = 1)]
    pub(super) self_signed_cert_validity: u32,
    /// Of TLS 1.2, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256. Default: all without known weakness.
    #[arg(long, env = "ETCD_CIPHER_SUITES", action = ArgAction::Set, value_delimiter = ',')]
    pub(super) cipher_suites: Vec<String>,
    #[arg(long, env = "ETCD_TLS_MIN_VERSION", default_value = "TLS1.2", value_parser = ["TLS1.2", "TLS1.3", ""])]
    pub(super) tls_min_version: String,
    /// Default: the highest.
    #[arg(long, env = "ETCD_TLS_MAX_VERSION", default_value = "", value_parser = ["TLS1.2", "TLS1.3", ""])]
    pub(super) tls_max_version: String,
    #[arg(long, env = "ETCD_LISTEN_METRICS_URLS", action = ArgAction::Set, value_delimiter = ',')]
    pub(super) listen_metrics_urls: Vec<Url>,
    #[arg(long, env = "ETCD_MAX_TXN_OPS", default_value_t = 128)]
    pub(super) max_txn_ops: u32,
    #[arg(long, env = "ETCD_MAX_REQUEST_BYTES", default_value_t = 1_572_864)]
    pub(super) max_request_bytes: u32,
    /// Bytes of the keyspace; 0: etcd's default of 2 GiB; less: no limit.
    #[arg(long, env = "ETCD_QUOTA_BACKEND_BYTES", default_value_t = 0, allow_negative_numbers = true)]
    pub(super) quota_backend_bytes: i64,
    /// Take back the alarm for a reached quota as soon as there is room again. Not a flag of etcd.
    #[arg(long, env = "ETCD_QUOTA_AUTO_DISARM", num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    pub(super) quota_auto_disarm: bool,
    #[arg(long, env = "ETCD_AUTO_COMPACTION_MODE", default_value = "periodic", value_parser = ["periodic", "revision"])]
    pub(super) auto_compaction_mode: String,
    /// Revisions to keep, or a time such as 30m or 10 (hours). 0: keep all.
    #[arg(long, env = "ETCD_AUTO_COMPACTION_RETENTION", default_value = "0")]
    pub(super) auto_compaction_retention: String,
    /// Entries after which the log is shortened.
    #[arg(long, env = "ETCD_SNAPSHOT_COUNT", default_value_t = 10_000)]
    pub(super) snapshot_count: u64,
    /// Compare the whole data with the other members' before the first answer, and end if they differ.
    #[arg(long, alias = "experimental-initial-corrupt-check", env = "ETCD_INITIAL_CORRUPT_CHECK", num_args = 0..=1,
          require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub(super) initial_corrupt_check: bool,
    /// Write down every five minutes what leases of more than that have left, for the next leader.
    #[arg(long, alias = "experimental-enable-lease-checkpoint", env = "ETCD_ENABLE_LEASE_CHECKPOINT", num_args = 0..=1,
          require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub(super) enable_lease_checkpoint: bool,
    /// Between two comparisons of all members' whole data, such as 4h. 0: only what is new is compared.
    #[arg(long, alias = "experimental-corrupt-check-time", env = "ETCD_CORRUPT_CHECK_TIME", default_value = "0")]
    pub(super) corrupt_check_time: String,
    /// What etcd 3.6 switches on by name; InitialCorruptCheck and LeaseCheckpoint have a meaning here.
    #[arg(long, env = "ETCD_FEATURE_GATES", action = ArgAction::Set, value_delimiter = ',')]
    pub(super) feature_gates: Vec<String>,
    /// Milliseconds.
    #[arg(long, env = "ETCD_HEARTBEAT_INTERVAL", default_value_t = 100)]
    pub(super) heartbeat_interval: u64,
    /// Milliseconds.
    #[arg(long, env = "ETCD_ELECTION_TIMEOUT", default_value_t = 1_000)]
    pub(super) election_timeout: u64,
    #[arg(
        long,
        alias = "experimental-watch-progress-notify-interval",
        env = "ETCD_WATCH_PROGRESS_NOTIFY_INTERVAL",
        default_value = "10m"
    )]
    pub(super) watch_progress_notify_interval: String,
    /// A connection on which nothing has come for so long is pinged; 0: never.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_INTERVAL", default_value = "1m")]
    pub(super) grpc_keepalive_interval: String,
    /// A connection that does not answer a ping for so long is cut.
    #[arg(long, env = "ETCD_GRPC_KEEPALIVE_TIMEOUT", default_value = "20s")]
    pub(super) grpc_keepalive_timeout: String,
    /// Streams that one connection may have open at a time.
    #[arg(long, env = "ETCD_MAX_CONCURRENT_STREAMS", default_value_t = 65_536)]
    pub(super) max_concurrent_streams: u32,
    /// A unary call that takes longer is worth a line in the log.
    #[arg(
        long,
        alias = "experimental-warning-unary-request-duration",
        env = "ETCD_WARNING_UNARY_REQUEST_DURATION",
        default_value = "300ms"
    )]
    pub(super) warning_unary_request_duration: String,
    /// Behave like this release of etcd.
    #[arg(long, env = "ETCD_EMULATE_VERSION", default_value = Profile::V3_6.server(),
          value_parser = Profile::ALL.map(Profile::server))]
    pub(super) emulate_version: String,
    /// simple, or jwt,sign-method=METHOD,pub-key=FILE,priv-key=FILE,ttl=TIME, or empty: only certificates count
    #[arg(long, env = "ETCD_AUTH_TOKEN", default_value = "simple")]
    pub(super) auth_token: String,
    /// Seconds that an unused simple token lives.
    #[arg(long, env = "ETCD_AUTH_TOKEN_TTL", default_value_t = 300)]
    pub(super) auth_token_ttl: u32,
    /// 4 to 31: each step doubles the time that a password takes.
    #[arg(long, env = "ETCD_BCRYPT_COST", default_value_t = 10)]
    pub(super) bcrypt_cost: u32,
    #[arg(long, env = "ETCD_LOG_LEVEL", default_value = "info",
          value_parser = ["debug", "info", "warn", "error", "panic", "fatal"])]
    pub(super) log_level: String,
    #[arg(long, env = "ETCD_LOG_FORMAT", default_value = "json", value_parser = ["json", "console"])]
    pub(super) log_format: String,
    /// default or stderr, stdout, systemd/journal, or the path of a file; several with commas between them.
    #[arg(long, env = "ETCD_LOG_OUTPUTS", default_value = "default", value_delimiter = ',')]
    pub(super) log_outputs: Vec<String>,
}

/// The flags are not usable.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// On the command line or in the environment; help and version come this way too.
    #[error(transparent)]
    Line(#[from] clap::Error),
    #[error("--config-file: {0}")]
    File(#[from] FileError),
}

impl Flags {
    /// Reads the arguments that follow `holdfast chainfire`, and the environment, or the file that they name. Also
    /// returns what was given in vain.
    pub fn parse_from_etcd(args: impl IntoIterator<Item = OsString>) -> Result<(Self, Vec<String>), FlagError> {
        let earlier = renamed().filter_map(|(variable, flag)| given(&flag, &std::env::var_os(variable)?));
        let (flags, mut warnings) =
            parse(without_empty_variables(command()), earlier.chain(args.into_iter().map(two_dashes)))?;
        if let Some(path) = &flags.config_file {
            // The environment is silent, too.
            let command = command().mut_args(|arg| arg.env(None));
            let known = command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
            let (args, unknown) = file::arguments(path, &known)?;
            let (flags, ignored) = parse(command, args)?;
            return Ok((flags, [unknown, ignored].concat()));
        }
        warnings.extend(unknown_environment(std::env::vars_os().map(|(name, _)| name)));
        Ok((flags, warnings))
    }
}

fn parse(mut command: Command, args: impl IntoIterator<Item = OsString>) -> Result<(Flags, Vec<String>), clap::Error> {
    let matches = command.try_get_matches_from_mut(std::iter::once(OsString::from("chainfire")).chain(args))?;
    let flags = Flags::from_arg_matches(&matches)?;
    let warnings = foreign::judge(&mut command, &matches)?;
    Ok((flags, warnings))
}

/// Flags that had an `experimental-` form in earlier releases; here they are aliases, which have no variable of their own.
const RENAMED: &[&str] = &[
    "corrupt-check-time",
    "enable-lease-checkpoint",
    "initial-corrupt-check",
    "warning-unary-request-duration",
    "watch-progress-notify-interval",
];

/// The variables of earlier releases, and the flags that they stand for.
fn renamed() -> impl Iterator<Item = (OsString, String)> {
    let variable = |flag: &str| format!("ETCD_EXPERIMENTAL_{}", flag.to_ascii_uppercase().replace('-', "_"));
    RENAMED.iter().map(move |flag| (variable(flag).into(), (*flag).to_owned()))
}

/// A variable's value as an argument, in front of all others, so that it is the weakest.
fn given(flag: &str, value: &OsString) -> Option<OsString> {
    value.to_str().filter(|value| !value.is_empty()).map(|value| format!("--{flag}={value}").into())
}

fn command() -> Command {
    foreign::known_to(Flags::command())
}

/// As for etcd, a variable that is empty says nothing.
fn without_empty_variables(command: Command) -> Command {
    let empty = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| value.is_empty());
    command.mut_args(|arg| if arg.get_env().is_some_and(empty) { arg.env(Resettable::Reset) } else { arg })
}

/// Like etcd, an unknown variable is worth a warning, not an error: environments are shared.
fn unknown_environment(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let known: HashSet<OsString> = command()
        .get_arguments()
        .filter_map(|arg| arg.get_env().map(OsString::from))
        .chain(renamed().map(|(variable, _)| variable))
        .collect();
    let unknown =
        names.filter(|name| name.to_str().is_some_and(|text| text.starts_with("ETCD_")) && !known.contains(name));
    unknown.map(|name| format!("unrecognized environment variable {}", name.to_string_lossy())).collect()
}

/// Go's flags may begin with one dash.
fn two_dashes(arg: OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text.len() > 2 && text.starts_with('-') && !text.starts_with("--") => format!("-{text}").into(),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<(Flags, Vec<String>), FlagError> {
        Flags::parse_from_etcd(args.iter().map(OsString::from))
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        let (flags, _) = parse(&["-name", "infra0", "--max-txn-ops=256"]).unwrap();
        assert_eq!((flags.name.as_str(), flags.max_txn_ops), ("infra0", 256));
    }

    /// §0 "Drop-in": the flags that etcd's users give.
    #[test]
    fn etcds_usual_flags_are_accepted_and_have_a_variable() {
        let usual = "--name=a --data-dir=d --listen-client-urls=http://a:1 --advertise-client-urls=http://a:1 \
            --listen-peer-urls=http://a:2 --initial-advertise-peer-urls=http://a:2 --initial-cluster=a=http://a:2 \
            --initial-cluster-token=t --initial-cluster-state=new --cert-file=f --key-file=f --trusted-ca-file=f \
            --client-cert-auth --peer-cert-file=f --peer-key-file=f --peer-trusted-ca-file=f --peer-client-cert-auth \
            --quota-backend-bytes=1 --max-txn-ops=1 --max-request-bytes=1 --auto-compaction-mode=revision \
            --auto-compaction-retention=1 --snapshot-count=1 --heartbeat-interval=100 --election-timeout=1000 \
            --listen-metrics-urls=http://a:3 --enable-v2 --logger=zap --log-level=info --log-outputs=stderr \
            --auth-token=simple";
        let usual: Vec<&str> = usual.split_whitespace().collect();
        let (_, warnings) = parse(&usual).unwrap();
        let ignored = ["--enable-v2", "--logger"];
        assert_eq!(warnings.len(), ignored.len(), "{warnings:?}");
        assert!(ignored.iter().all(|flag| warnings.iter().any(|said| said.contains(flag))), "{warnings:?}");
        let command = command();
        for flag in usual.iter().filter_map(|flag| flag.trim_start_matches('-').split('=').next()) {
            let known = command.get_arguments().find(|arg| arg.get_long() == Some(flag)).unwrap();
            let variable = format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"));
            assert_eq!(known.get_env(), Some(OsStr::new(&variable)));
        }
    }

    #[test]
    fn booleans_may_have_a_value() {
        assert!(parse(&["--client-cert-auth"]).unwrap().0.client_cert_auth);
        assert!(!parse(&["--client-cert-auth=false"]).unwrap().0.client_cert_auth);
    }

    #[test]
    fn flags_without_meaning_are_named() {
        let (_, warnings) = parse(&["--enable-v2=false", "--logger", "zap"]).unwrap();
        assert!(warnings.iter().any(|warning| warning.contains("--enable-v2")));
        assert!(warnings.iter().any(|warning| warning.contains("--logger")));
    }

    #[test]
    fn a_file_stands_for_all_other_flags() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd.yml");
        std::fs::write(&path, "name: infra1\nproxy: 'off'\nproxy-failure-wait: 5000\nwal-dir: x\n").unwrap();
        let file = format!("--config-file={}", path.display());
        let (flags, warnings) = parse(&["--name=infra0", "--max-txn-ops=256", &file]).unwrap();
        assert_eq!((flags.name.as_str(), flags.max_txn_ops), ("infra1", 128));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        std::fs::write(&path, "initial-cluster-state: maybe\n").unwrap();
        assert!(parse(&[&file]).is_err());
        assert!(parse(&["--config-file=/nowhere"]).unwrap_err().to_string().contains("/nowhere"));
    }

    #[test]
    fn what_would_silently_not_be_done_is_an_error() {
        assert!(parse(&["--host-whitelist=*", "--peer-client-cert-auth"]).unwrap().1.is_empty());
        let (_, warnings) = parse(&["--peer-client-cert-auth=false"]).unwrap();
        assert!(warnings.iter().any(|said| said.contains("members always have to show")), "{warnings:?}");
        let error = parse(&["--host-whitelist=x"]).unwrap_err().to_string();
        assert!(error.contains("--host-whitelist") && error.contains("not checked"), "{error}");
        assert!(parse(&["--auto-tls=false", "--force-new-cluster=false"]).unwrap().1.is_empty());
    }

    #[test]
    fn flags_of_several_releases_are_known() {
        let args = ["--feature-gates=InitialCorruptCheck=true", "--warning-apply-duration=1s"];
        let earlier = ["--experimental-warning-apply-duration=1s", "--experimental-initial-corrupt-check"];
        assert_eq!(parse(&[args, earlier].concat()).unwrap().1.len(), 2);
    }

    #[test]
    fn a_variable_of_an_earlier_release_is_the_weakest_word() {
        let earlier = given("corrupt-check-time", &"4h".into()).unwrap();
        assert_eq!(parse(&[earlier.to_str().unwrap()]).unwrap().0.corrupt_check_time, "4h");
        let both = [earlier.to_str().unwrap(), "--corrupt-check-time=1h"];
        assert_eq!(parse(&both).unwrap().0.corrupt_check_time, "1h");
    }

    #[test]
    fn the_version_has_the_line_that_scripts_look_for() {
        let version = parse(&["--version"]).unwrap_err().to_string();
        assert!(version.starts_with("holdfast chainfire ") && version.contains("\netcd Version: 3.6."), "{version}");
    }

    #[test]
    fn of_a_repeated_flag_the_last_counts() {
        let urls = ["--listen-client-urls=http://a:1,http://b:1", "--listen-client-urls=http://c:1"];
        let (flags, _) = parse(&[&["--name", "a", "--name", "b"], &urls[..]].concat()).unwrap();
        assert_eq!((flags.name.as_str(), flags.listen_client_urls.len()), ("b", 1));
    }

    #[test]
    fn the_usage_is_what_was_called() {
        let help = parse(&["--help"]).unwrap_err().to_string();
        assert!(help.contains("Usage: holdfast chainfire [OPTIONS]"), "{help}");
        let error = parse(&["--no-such-flag"]).unwrap_err().to_string();
        assert!(error.contains("Usage: holdfast chainfire"), "{error}");
    }

    #[test]
    fn unknown_flags_are_errors() {
        assert!(parse(&["--no-such-flag"]).is_err());
        assert!(parse(&["--initial-cluster-state", "maybe"]).is_err());
    }

    #[test]
    fn unknown_variables_are_warnings() {
        let names = ["ETCD_NO_SUCH", "ETCD_NAME", "ETCD_EXPERIMENTAL_CORRUPT_CHECK_TIME", "ETCDCTL_API", "HOME"]
            .map(OsString::from);
        assert_eq!(unknown_environment(names.into_iter()), ["unrecognized environment variable ETCD_NO_SUCH"]);
    }
}
