use iam_client::{Access, Rule};

/// What reading history needs, at every door.
pub const READ_ACTION: &str = "history.Read";
pub const READ_RESOURCE: &str = "history/*";

/// What each call of `flaredb.v1` needs.
pub const ACCESS: &[Rule] = &[
    Rule::new("/flaredb.v1.Flaredb/Query", permission(READ_ACTION, READ_RESOURCE)),
    Rule::new("/flaredb.v1.Flaredb/Execute", permission("history.Migrate", "history/*")),
    Rule::new("/flaredb.v1.Flaredb/Migrate", permission("history.Migrate", "history/*")),
    Rule::new("/flaredb.v1.Flaredb/Status", permission("cluster.Read", "cluster/*")),
    Rule::new("/flaredb.v1.Flaredb/MemberList", permission("cluster.Read", "cluster/*")),
];

/// What each route of the HTTP interface needs.
pub const ACCESS_HTTP: &[Rule] = &[Rule::new("/audit", permission(READ_ACTION, READ_RESOURCE))];

const fn permission(action: &'static str, resource: &'static str) -> Access {
    Access::Permission { action, resource }
}
