//! Words with a meaning of their own.

/// Group of the service that nodes read from.
pub const READ_GROUP: &str = "config-read";
/// Group of the service that operators publish to.
pub const WRITE_GROUP: &str = "config-write";
/// The role that every node holds without being given it.
pub const NODE_ROLE: &str = "node";
/// The role of people who publish.
pub const OPERATOR_ROLE: &str = "operator";
/// Where nodes get their artifacts through the data plane.
pub const CONFIG_SERVER: &str = "config-server";
/// Where operators publish through the data plane.
pub const CONFIG_PUBLISHER: &str = "config-publisher";

/// Segments of SPIFFE paths and names of files beside the artifacts: no principal or signer may have them.
pub const NOT_NAMES: &[&str] = &[
    "user",
    "users",
    "service",
    "services",
    "node",
    "nodes",
    "vertex",
    "vertices",
    "management-plane",
    "management-planes",
    "control-plane",
    "control-planes",
    "agent",
    "manifest",
];
