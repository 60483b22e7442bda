use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// What IAM counts.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) authenticated: Counter,
    pub(crate) failed: Counter,
    pub(crate) denied: Counter,
    pub(crate) issued: Counter,
    pub(crate) slowed: Counter,
    pub(crate) compared: Counter,
    pub(crate) cut: Counter,
    /// 1 while this server answers about identity.
    pub(crate) open: Gauge,
    /// 1 while anonymous callers are admins.
    pub(crate) unauthenticated_admin: Gauge,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("holdfast_iam");
        registry.register("authentications", "Calls whose caller was established", self.authenticated.clone());
        registry.register("authentication_failures", "Calls with credentials that failed", self.failed.clone());
        registry.register("denials", "Calls that were refused, failed authentications included", self.denied.clone());
        registry.register("tokens_issued", "Tokens issued", self.issued.clone());
        registry.register(
            "connections_closed",
            "Connections closed because their callers may not go on",
            self.cut.clone(),
        );
        registry.register("open", "1 while this server answers about identity", self.open.clone());
        registry.register(
            "unauthenticated_admin",
            "1 while anonymous callers are admins: a laboratory setting",
            self.unauthenticated_admin.clone(),
        );
        registry.register("secrets_compared", "Secrets of access keys compared", self.compared.clone());
        registry.register("guessers_slowed", "Sources and names that reached the back-off", self.slowed.clone());
    }
}
