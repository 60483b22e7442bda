use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// What IAM counts.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) authenticated: Counter,
    pub(crate) failed: Counter,
    pub(crate) denied: Counter,
    pub(crate) issued: Counter,
    pub(crate) slowed: Counter,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("holdfast_iam");
        registry.register("authentications", "Calls whose caller was established", self.authenticated.clone());
        registry.register("authentication_failures", "Calls with credentials that failed", self.failed.clone());
        registry.register("denials", "Calls that were refused, failed authentications included", self.denied.clone());
        registry.register("tokens_issued", "Tokens issued", self.issued.clone());
        registry.register("guessers_slowed", "Sources and names that reached the back-off", self.slowed.clone());
    }
}
