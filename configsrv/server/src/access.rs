//! Who may call what. The layer in front of the listeners refuses every path that no rule names.

use iam_client::{Access, Rule};

const ANY: &str = "nodes/*";
const VERSIONS: &str = "versions/*";

/// The HTTP paths of the distribution. Where a node's name is in the path, the handler decides about that node.
pub const ACCESS_HTTP: &[Rule] = &[
    Rule::new("/publish", Access::Permission { action: "config.Publish", resource: VERSIONS }),
    Rule::new("/tree", Access::Permission { action: "config.Publish", resource: VERSIONS }),
    Rule::new("/artifact/*", Access::Authenticated),
    Rule::new("/nodes", Access::Permission { action: "config.ReadFleet", resource: ANY }),
    Rule::new("/nodes/*", Access::Authenticated),
    Rule::new("/versions", Access::Permission { action: "config.ReadFleet", resource: VERSIONS }),
    Rule::new("/versions/*", Access::Permission { action: "config.ReadFleet", resource: VERSIONS }),
    // POST revokes, which the handler decides.
    Rule::new("/revocations", Access::Authenticated),
    Rule::new("/locks", Access::Permission { action: "lock.Read", resource: "lock/*" }),
    Rule::new("/locks/*", Access::Authenticated),
    Rule::new("/healthz", Access::Public),
    Rule::new("/readyz", Access::Public),
    Rule::new("/-/healthy", Access::Public),
];

/// The gRPC methods of the distribution.
pub const ACCESS_GRPC: &[Rule] = &[
    Rule::new("/configsrv.v1.ConfigService/GetArtifact", Access::Authenticated),
    Rule::new(
        "/configsrv.v1.ConfigService/ListNodes",
        Access::Permission { action: "config.ReadFleet", resource: ANY },
    ),
    Rule::new(
        "/configsrv.v1.ConfigService/ListVersions",
        Access::Permission { action: "config.ReadFleet", resource: VERSIONS },
    ),
    Rule::new("/configsrv.v1.ConfigService/GetRevocations", Access::Authenticated),
    // Agents wait for versions here; a number says nothing about anybody's configuration.
    Rule::new("/configsrv.v1.ConfigService/Watch", Access::Authenticated),
];

/// The lock's own paths while its clients prove nothing (`client_auth: none`).
pub const ACCESS_FLEETLOCK_OPEN: &[Rule] = &[Rule::new("/v1/*", Access::Public)];

/// The lock's own paths while its clients must prove who they are. The handler says so, too: the protocol wants to
/// hear first what is wrong with the request. Whether the proof is of the demanded sort, and whose group it is, it
/// decides as well.
pub const ACCESS_FLEETLOCK_AUTHENTICATED: &[Rule] = &[Rule::new("/v1/*", Access::Deferred)];
