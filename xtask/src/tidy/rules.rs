//! Which crate may know which: the architecture's dependency direction, kept true.

use super::{Finding, graph::Graph};

/// Crates that are pure: time, entropy and bytes are arguments.
const PURE: &[&str] = &[
    "chainfire-backup",
    "chainfire-bolt",
    "chainfire-core",
    "flaredb-core",
    "iam-ca",
    "iam-core",
    "configsrv-fleet",
    "holdfast-format",
    "holdfast-keyspace",
];

/// Crates that know no product.
const COMMON: &[&str] = &[
    "holdfast-format",
    "holdfast-keyspace",
    "holdfast-passphrase",
    "holdfast-proto",
    "holdfast-rpc",
    "holdfast-service",
    "holdfast-telemetry",
    "holdfast-testkit",
];

enum Rule {
    /// None of `who` reaches any of `what`, however indirectly.
    Unreachable {
        who: &'static [&'static str],
        what: &'static [&'static str],
        why: &'static str,
    },
    /// None of `who` names any of `what` as its own dependency.
    NotDirect {
        who: &'static [&'static str],
        what: &'static [&'static str],
        why: &'static str,
    },
    /// Only `who` may name `what` as their own dependency.
    OnlyFor {
        what: &'static str,
        who: &'static [&'static str],
        why: &'static str,
    },
    /// Of the workspace's crates, `who` may name only `these`.
    MembersOf {
        who: &'static [&'static str],
        these: &'static [&'static str],
        why: &'static str,
    },
    OneVersion {
        what: &'static [&'static str],
        why: &'static str,
    },
    Absent {
        what: &'static [&'static str],
        why: &'static str,
    },
}

const RULES: &[Rule] = &[
    Rule::Unreachable {
        who: PURE,
        what: &["tokio", "tonic", "prost", "axum", "hyper", "rocksdb", "openraft"],
        why: "a core is pure",
    },
    Rule::NotDirect { who: PURE, what: &["getrandom", "rand", "fastrand"], why: "a core takes entropy as an argument" },
    Rule::MembersOf {
        who: &["chainfire-core", "flaredb-core", "iam-core"],
        these: &["holdfast-format", "holdfast-keyspace", "chainfire-core", "iam-ca"],
        why: "nothing points back from a core",
    },
    Rule::MembersOf {
        who: &["iam-ca"],
        these: &["holdfast-passphrase"],
        why: "certificates are the same for all who make and judge them",
    },
    Rule::MembersOf { who: COMMON, these: COMMON, why: "common crates know no product" },
    Rule::Unreachable {
        who: &["chainfire-client", "flaredb-client", "iam-client"],
        what: &["chainfire-server", "flaredb-server", "iam-server", "configsrv-server", "rocksdb", "openraft"],
        why: "a client knows the wire, not the server",
    },
    Rule::Unreachable {
        who: &["iam-core", "iam-client", "iam-server", "configsrv-fleet", "configsrv-server"],
        what: &["chainfire-raft", "chainfire-server"],
        why: "iam and configsrv keep state through the system store and know nothing of Raft",
    },
    Rule::MembersOf {
        who: &["configsrv-rete"],
        these: &["configsrv-fleet", "iam-ca"],
        why: "the data plane knows artifacts and certificates, not servers",
    },
    Rule::Unreachable {
        who: &["configsrv-rete"],
        what: &["tonic", "axum", "hyper", "reqwest", "datafusion", "rocksdb"],
        why: "what runs on nodes and at operators' desks stays small",
    },
    Rule::OnlyFor { what: "quinn", who: &["configsrv-rete"], why: "one crate speaks QUIC" },
    Rule::OnlyFor {
        what: "chainfire-raft",
        who: &["chainfire-server", "flaredb-server", "holdfast"],
        why: "consensus is used through the two stores",
    },
    Rule::OnlyFor { what: "openraft", who: &["chainfire-raft"], why: "openraft's types stay inside the adapter" },
    Rule::OnlyFor { what: "rocksdb", who: &["chainfire-raft"], why: "one crate opens databases" },
    Rule::Unreachable {
        who: &["flor", "florctl", "xtask", "ops-proofs"],
        what: &["datafusion", "rocksdb", "openraft"],
        why: "what runs on nodes and at operators' desks stays small",
    },
    Rule::OneVersion {
        what: &["tonic", "prost", "rustls", "ring", "arrow", "datafusion", "openraft"],
        why: "two versions would not understand each other's types",
    },
    Rule::Absent {
        what: &["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"],
        why: "ring is the one cryptographic provider",
    },
];

pub(crate) fn check(graph: &Graph) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| broken(rule, graph)).collect()
}

fn broken(rule: &Rule, graph: &Graph) -> Vec<Finding> {
    match rule {
        Rule::Unreachable { who, what, why } => pairs(who, what)
            .filter_map(|(crate_name, package)| Some((crate_name, graph.path(crate_name, package)?)))
            .map(|(crate_name, path)| Finding::new(crate_name, format!("{path} ({why})")))
            .collect(),
        Rule::NotDirect { who, what, why } => pairs(who, what)
            .filter(|(crate_name, package)| graph.direct(crate_name).contains(package))
            .map(|(crate_name, package)| Finding::new(crate_name, format!("depends on {package} ({why})")))
            .collect(),
        Rule::OnlyFor { what, who, why } => graph
            .members()
            .filter(|member| !who.contains(member) && graph.direct(member).contains(what))
            .map(|member| Finding::new(member, format!("depends on {what} ({why})")))
            .collect(),
        Rule::MembersOf { who, these, why } => {
            let members: Vec<_> = graph.members().collect();
            who.iter()
                .flat_map(|crate_name| graph.direct(crate_name).into_iter().map(move |package| (crate_name, package)))
                .filter(|(_, package)| members.contains(package) && !these.contains(package))
                .map(|(crate_name, package)| Finding::new(*crate_name, format!("depends on {package} ({why})")))
                .collect()
        }
        Rule::OneVersion { what, why } => what
            .iter()
            .map(|package| (package, graph.versions(package)))
            .filter(|(_, versions)| versions.len() > 1)
            .map(|(package, versions)| Finding::new(*package, format!("versions {} ({why})", versions.join(", "))))
            .collect(),
        Rule::Absent { what, why } => what
            .iter()
            .filter(|package| !graph.versions(package).is_empty())
            .map(|package| {
                let path = graph.members().find_map(|member| graph.path(member, package)).unwrap_or_default();
                Finding::new(*package, format!("is in the build: {path} ({why})"))
            })
            .collect(),
    }
}

fn pairs<'a>(who: &'a [&'a str], what: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    who.iter().flat_map(move |crate_name| what.iter().map(move |package| (*crate_name, *package)))
}

#[cfg(test)]
mod tests {
    use super::{super::graph::tests::graph, *};

    fn findings(members: &[&str], packages: &[(&str, &[&str])]) -> Vec<String> {
        check(&graph(members, packages)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_core_reaches_no_runtime_even_through_another_crate() {
        let found = findings(&["iam-core"], &[("iam-core", &["helper"]), ("helper", &["tokio"]), ("tokio", &[])]);
        assert_eq!(found, ["iam-core: iam-core → helper → tokio (a core is pure)"]);
    }

    #[test]
    fn entropy_is_an_argument_but_a_dependency_may_have_its_own() {
        let ring: (&str, &[&str]) = ("ring", &["getrandom"]);
        let rest: (&str, &[&str]) = ("getrandom", &[]);
        assert!(findings(&["iam-core"], &[("iam-core", &["ring"]), ring, rest]).is_empty());
        let found = findings(&["iam-core"], &[("iam-core", &["getrandom"]), rest]);
        assert_eq!(found, ["iam-core: depends on getrandom (a core takes entropy as an argument)"]);
    }

    #[test]
    fn consensus_is_for_the_stores_only() {
        let members = &["configsrv-server", "flaredb-server", "chainfire-raft"];
        let raft: (&str, &[&str]) = ("chainfire-raft", &[]);
        let flaredb: (&str, &[&str]) = ("flaredb-server", &["chainfire-raft"]);
        assert!(findings(members, &[flaredb, ("configsrv-server", &[]), raft]).is_empty());
        let found = findings(members, &[flaredb, ("configsrv-server", &["chainfire-raft"]), raft]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|finding| finding.starts_with("configsrv-server: ")), "{found:?}");
    }

    #[test]
    fn common_crates_know_no_product() {
        let members = &["holdfast-rpc", "holdfast-service", "iam-client"];
        let packages: &[(&str, &[&str])] =
            &[("holdfast-rpc", &["holdfast-service", "iam-client"]), ("holdfast-service", &[]), ("iam-client", &[])];
        assert_eq!(
            findings(members, packages),
            ["holdfast-rpc: depends on iam-client (common crates know no product)"]
        );
    }

    #[test]
    fn a_second_version_and_a_second_provider_are_found() {
        let packages: &[(&str, &[&str])] = &[
            ("holdfast", &["rustls 0.23.1", "reqwest"]),
            ("rustls 0.23.1", &[]),
            ("rustls 0.22.0", &[]),
            ("reqwest", &["openssl"]),
            ("openssl", &[]),
        ];
        let found = findings(&["holdfast"], packages);
        assert_eq!(
            found,
            [
                "rustls: versions 0.23.1, 0.22.0 (two versions would not understand each other's types)",
                "openssl: is in the build: holdfast → reqwest → openssl (ring is the one cryptographic provider)",
            ]
        );
    }
}
