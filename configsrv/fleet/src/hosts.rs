//! What services are called in the data plane: `<service>.<cluster>.rete`, or `<service>.<node>.<cluster>.rete` for a service whose scope is
//! its node. Only services have names: they are what can be dialled.

use crate::{
    names::ClusterName,
    reserved::CONFIG_PUBLISHER,
    spiffe::{SpiffeId, Subject},
};

const SUFFIX: &str = ".rete";

/// The host name of a service; none for anybody else.
pub fn host_name(id: &SpiffeId) -> Option<String> {
    let cluster = id.cluster();
    match id.subject() {
        Subject::Service { node: None, service } => Some(format!("{service}.{cluster}{SUFFIX}")),
        Subject::Service { node: Some(node), service } => Some(format!("{service}.{node}.{cluster}{SUFFIX}")),
        Subject::User(_) | Subject::Node(_) | Subject::Signer(_) => None,
    }
}

/// Where operators publish, unless the repository says otherwise.
pub fn publisher(cluster: &ClusterName) -> String {
    format!("{CONFIG_PUBLISHER}.{cluster}{SUFFIX}")
}

/// The service of `cluster` that a host name means, in any case, with or without the final dot of an absolute name.
pub fn service(host: &str, cluster: &ClusterName) -> Option<SpiffeId> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let labels = host.strip_suffix(SUFFIX)?.strip_suffix(cluster.as_str())?.strip_suffix('.')?;
    let (service, node) = match labels.split_once('.') {
        None => (labels, None),
        Some((service, node)) => (service, Some(node.parse().ok()?)),
    };
    Some(SpiffeId::new(cluster, Subject::Service { node, service: service.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterName {
        "quay.test".parse().unwrap()
    }

    #[test]
    fn names_round_trip() {
        for (id, name) in [
            ("spiffe://quay.test/service/stock", "stock.quay.test.rete"),
            ("spiffe://quay.test/service/pier2/shell", "shell.pier2.quay.test.rete"),
        ] {
            let id: SpiffeId = id.parse().unwrap();
            assert_eq!(host_name(&id).as_deref(), Some(name));
            assert_eq!(service(name, &cluster()), Some(id.clone()));
            assert_eq!(service(&format!("{}.", name.to_uppercase()), &cluster()), Some(id));
        }
        let publisher = service(&publisher(&cluster()), &cluster()).unwrap();
        assert_eq!(publisher.as_str(), "spiffe://quay.test/service/config-publisher");
        assert_eq!(host_name(&"spiffe://quay.test/user/mira".parse().unwrap()), None);
    }

    #[test]
    fn everything_else_names_nothing() {
        for host in [
            "",
            ".",
            "rete",
            ".rete",
            "quay.test.rete",
            ".quay.test.rete",
            "stock.dock.test.rete",
            "stock.quay.test",
            "stock.quay.test.rete..",
            "a.b.c.quay.test.rete",
            "127.0.0.1",
            "[::1]",
            "stockquay.test.rete",
            "-.quay.test.rete",
            "st ck.quay.test.rete",
        ] {
            assert_eq!(service(host, &cluster()), None, "{host}");
        }
    }
}
