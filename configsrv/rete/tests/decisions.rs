//! What the tables of a compiled payload decide is the access rule, for every principal, service and node of any fleet.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    str::FromStr,
};

use configsrv_fleet::{
    ClusterName, Fleet, GroupName, NodeName, RoleName, ServiceName, SpiffeId, Subject, UserName,
    artifact::Via,
    compile::payloads,
    fleet::{Distribution, Node, Service, User},
};
use configsrv_rete::{Denial, NoRoute, Tables};
use proptest::{collection::btree_set, prelude::*};

const NODES: usize = 4;
const GROUPS: usize = 4;
const ROLES: usize = 4;

fn name<T: FromStr>(kind: &str, at: usize) -> T
where
    T::Err: Debug,
{
    format!("{kind}{at}").parse().unwrap()
}

fn some<T: FromStr + Ord + Debug>(kind: &'static str, of: usize, least: usize) -> impl Strategy<Value = BTreeSet<T>>
where
    T::Err: Debug,
{
    btree_set(0..of, least..=of).prop_map(move |some| some.iter().map(|at| name(kind, *at)).collect())
}

fn service() -> impl Strategy<Value = Service> {
    (some::<NodeName>("n", NODES, 1), some("g", GROUPS, 0), some("r", ROLES, 0), any::<bool>()).prop_map(
        |(hosts, groups, roles, per_node)| Service {
            hosts,
            addr: "127.0.0.1:7000".parse().unwrap(),
            socks5_proxy: None,
            groups,
            roles,
            per_node,
            image: None,
            files: Vec::new(),
        },
    )
}

fn user() -> impl Strategy<Value = User> {
    (some("r", ROLES, 0), some::<NodeName>("n", NODES, 0))
        .prop_map(|(roles, devices)| User { roles, devices: devices.into_iter().map(|node| (node, None)).collect() })
}

fn fleet() -> impl Strategy<Value = Fleet> {
    let services = proptest::collection::vec(service(), 0..5);
    let users = proptest::collection::vec(user(), 0..4);
    let roles = proptest::collection::vec(some::<GroupName>("g", GROUPS, 0), ROLES);
    (services, users, roles, some::<GroupName>("g", GROUPS, 0)).prop_map(|(services, users, roles, of_nodes)| {
        let cluster: ClusterName = "quay.test".parse().unwrap();
        let mut allowed: BTreeMap<RoleName, _> =
            roles.into_iter().enumerate().map(|(at, r)| (name("r", at), r)).collect();
        allowed.insert("node".parse().unwrap(), of_nodes);
        let node = |at: usize| Node {
            udp: Some(format!("203.0.113.{at}:4500").parse().unwrap()),
            labels: BTreeMap::new(),
            socks5: None,
            files: Vec::new(),
            drift: None,
            probes: Vec::new(),
        };
        Fleet {
            signers: Vec::new(),
            distribution: Distribution {
                server: "spiffe://quay.test/service/config-server".parse().unwrap(),
                via: Via::Direct,
                urls: Vec::new(),
                poll_interval: None,
                hold: None,
                expires_after: None,
            },
            nodes: (0..NODES).map(|at| (name("n", at), node(at + 1))).collect(),
            services: services.into_iter().enumerate().map(|(at, service)| (name("s", at), service)).collect(),
            users: users.into_iter().enumerate().map(|(at, user)| (name("u", at), user)).collect(),
            roles: allowed,
            cluster,
        }
    })
}

/// Somebody, their roles, and where they are.
fn principals(fleet: &Fleet) -> Vec<(SpiffeId, BTreeSet<RoleName>, BTreeSet<NodeName>)> {
    let mut all = Vec::new();
    for node in fleet.nodes.keys() {
        let role = BTreeSet::from(["node".parse().unwrap()]);
        all.push((SpiffeId::node(&fleet.cluster, node), role, BTreeSet::from([node.clone()])));
    }
    for (user, spec) in &fleet.users {
        let user: &UserName = user;
        all.push((SpiffeId::user(&fleet.cluster, user), spec.roles.clone(), spec.devices.keys().cloned().collect()));
    }
    for (service, spec) in &fleet.services {
        for host in &spec.hosts {
            let homes = if spec.per_node { BTreeSet::from([host.clone()]) } else { spec.hosts.clone() };
            all.push((id(fleet, service, host), spec.roles.clone(), homes));
        }
    }
    all
}

fn id(fleet: &Fleet, service: &ServiceName, host: &NodeName) -> SpiffeId {
    let node = fleet.services[service].per_node.then(|| host.clone());
    SpiffeId::new(&fleet.cluster, Subject::Service { node, service: service.clone() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_principal_reaches_a_service_exactly_if_a_role_allows_a_group(fleet in fleet()) {
        let payloads = payloads(&fleet).unwrap();
        let tables: BTreeMap<_, _> = payloads.iter().map(|(node, payload)| (node, Tables::of(payload))).collect();
        for (principal, roles, homes) in principals(&fleet) {
            let groups: BTreeSet<&GroupName> = roles.iter().flat_map(|role| &fleet.roles[role]).collect();
            for (service, spec) in &fleet.services {
                let reaches = spec.groups.iter().any(|group| groups.contains(group));
                for host in &spec.hosts {
                    let target = id(&fleet, service, host);
                    for (node, tables) in &tables {
                        // The gate: where the service is, by the rule; elsewhere, nobody.
                        let here = *node == host || (!spec.per_node && spec.hosts.contains(*node));
                        let decided = tables.decide(&principal, &target).map(|_| ());
                        let expected = match (here, reaches) {
                            (false, _) => Err(Denial::NotHere),
                            (true, false) => Err(Denial::NotAllowed),
                            (true, true) => Ok(()),
                        };
                        prop_assert_eq!(decided, expected, "{} to {} on {}", principal, target, node);
                        // The dial table: where the principal is, to every node that has the service.
                        let route = tables.route(&principal, &target);
                        if reaches && homes.contains(*node) {
                            let found: BTreeSet<_> = route.unwrap().iter().map(|hop| hop.node.clone()).collect();
                            let hosts = if spec.per_node { BTreeSet::from([host.clone()]) } else { spec.hosts.clone() };
                            prop_assert_eq!(found, hosts);
                        } else {
                            prop_assert!(matches!(route, Err(NoRoute::Unknown | NoRoute::NotAllowed)));
                        }
                    }
                }
            }
        }
    }
}
