//! etcd's flags that this server knows and does not need, and those that it must not ignore.

use clap::{Arg, ArgMatches, Command, error::ErrorKind, parser::RawValues};

/// Without meaning here, so that units and manifests need no change. Those of etcd 3.6 had an `experimental-` form in
/// earlier releases.
const IGNORED: &[&str] = &[
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "client-cert-file",
    "client-key-file",
    "cors",
    "discovery-cacert",
    "discovery-cert",
    "discovery-dial-timeout",
    "discovery-fallback",
    "discovery-insecure-skip-tls-verify",
    "discovery-insecure-transport",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-key",
    "discovery-password",
    "discovery-proxy",
    "discovery-request-timeout",
    "discovery-srv-name",
    "discovery-user",
    "enable-pprof",
    "enable-v2",
    "grpc-keepalive-min-time",
    "initial-election-tick-advance",
    "log-rotation-config-json",
    "enable-log-rotation",
    "logger",
    "max-snapshots",
    "max-wals",
    "pre-vote",
    "raft-read-timeout",
    "raft-write-timeout",
    "socket-reuse-address",
    "socket-reuse-port",
    "strict-reconfig-check",
    "unsafe-no-fsync",
    "v2-deprecation",
    "wal-dir",
];

/// The same, each with its `experimental-` form.
const GRADUATED: &[&str] = &[
    "bootstrap-defrag-threshold-megabytes",
    "compact-hash-check-enabled",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "distributed-tracing-address",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "distributed-tracing-service-name",
    "downgrade-check-time",
    "enable-distributed-tracing",
    "enable-lease-checkpoint-persist",
    "max-learners",
    "memory-mlock",
    "peer-skip-client-san-verification",
    "snapshot-catchup-entries",
    "stop-grpc-service-on-defrag",
    "txn-mode-write-with-shared-buffer",
    "warning-apply-duration",
];

/// What they ask for is done always.
const ALWAYS: &[(&str, &str)] = &[
    ("metrics", "all of them are always there"),
    ("peer-client-cert-auth", "members always have to show a certificate where there is one to show"),
];

/// What they ask for would silently not be done.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("client-cert-allowed-hostname", "any client that --trusted-ca-file vouches for is let in"),
    ("peer-cert-allowed-cn", "a peer's certificate names its member in a DNS name"),
    ("peer-cert-allowed-hostname", "a peer's certificate names its member in a DNS name"),
    ("host-whitelist", "the Host header is not checked"),
    ("discovery", "list the members with --initial-cluster"),
    ("discovery-srv", "list the members with --initial-cluster"),
    ("discovery-endpoints", "list the members with --initial-cluster"),
    ("discovery-token", "list the members with --initial-cluster"),
    ("force-new-cluster", "membership is fixed; restore a backup into a new cluster"),
    ("proxy", "there is no proxy"),
];

fn ignored() -> impl Iterator<Item = String> {
    let both = GRADUATED.iter().flat_map(|flag| [(*flag).to_owned(), format!("experimental-{flag}")]);
    IGNORED.iter().map(|flag| (*flag).to_owned()).chain(both)
}

/// Adds them to the command line, hidden.
pub(super) fn known_to(command: Command) -> Command {
    let flags = ignored().chain(ALWAYS.iter().chain(UNSUPPORTED).map(|(flag, _)| (*flag).to_owned()));
    flags.fold(command, |command, flag| {
        let variable = format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"));
        let arg = Arg::new(flag.clone()).long(flag).env(variable);
        command.arg(arg.num_args(0..=1).default_missing_value("true").hide(true))
    })
}

/// An error for what must not be ignored; else a warning for each flag that is.
pub(super) fn judge(command: &mut Command, matches: &ArgMatches) -> Result<Vec<String>, clap::Error> {
    let set = |flag: &str| {
        matches.get_raw(flag).is_some_and(|mut values| values.any(|value| value != "false" && value != "off"))
    };
    // What etcd does without them.
    let usual = |flag: &str| {
        let everybody = |mut values: RawValues<'_>| values.all(|value| value == "*");
        flag == "host-whitelist" && matches.get_raw(flag).is_some_and(everybody)
    };
    if let Some((flag, instead)) = UNSUPPORTED.iter().find(|(flag, _)| set(flag) && !usual(flag)) {
        let message = format!("--{flag} is a flag of etcd that this server does not support: {instead}");
        return Err(command.error(ErrorKind::UnknownArgument, message));
    }
    let given = ignored().filter(|flag| matches.contains_id(flag));
    let given = given.map(|flag| format!("--{flag} has no meaning here and is ignored"));
    let unset = |flag: &str| matches.get_raw(flag).is_some_and(|mut values| values.any(|value| value == "false"));
    let always = ALWAYS.iter().filter(|(flag, _)| unset(flag));
    Ok(given.chain(always.map(|(flag, why)| format!("--{flag}=false has no meaning here: {why}"))).collect())
}
