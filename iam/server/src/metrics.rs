use iam_client::Refusal;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// From what a caller costs that is known to what one costs whose proof has to reach a disk, in seconds.
const ADMISSION: [f64; 20] = [
    1e-6, 2e-6, 3e-6, 5e-6, 7e-6, 10e-6, 15e-6, 20e-6, 30e-6, 45e-6, 60e-6, 80e-6, 120e-6, 200e-6, 400e-6, 1e-3, 3e-3,
    10e-3, 100e-3, 1.0,
];

/// What IAM counts.
pub(crate) struct Metrics {
    pub(crate) authenticated: Counter,
    pub(crate) failed: Counter,
    pub(crate) denied: Counter,
    pub(crate) issued: Counter,
    pub(crate) slowed: Counter,
    pub(crate) join_token_alerts: Counter,
    pub(crate) compared: Counter,
    pub(crate) cut: Counter,
    pub(crate) introspections_refused: Counter,
    /// 1 while this server answers about identity.
    pub(crate) open: Gauge,
    /// 1 while anonymous callers are admins.
    pub(crate) unauthenticated_admin: Gauge,
    /// 1 while a restore waits for its approval.
    pub(crate) restore_waits: Gauge,
    /// 1 while a break-glass grant that was used is good.
    pub(crate) break_glass: Gauge,
    /// When the certificate ends that others are issued with, in Unix seconds.
    pub(crate) issuing_end: Gauge,
    pub(crate) admission: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            authenticated: Counter::default(),
            failed: Counter::default(),
            denied: Counter::default(),
            issued: Counter::default(),
            slowed: Counter::default(),
            join_token_alerts: Counter::default(),
            compared: Counter::default(),
            cut: Counter::default(),
            introspections_refused: Counter::default(),
            open: Gauge::default(),
            unauthenticated_admin: Gauge::default(),
            restore_waits: Gauge::default(),
            break_glass: Gauge::default(),
            issuing_end: Gauge::default(),
            admission: Histogram::new(ADMISSION),
        }
    }
}

impl Metrics {
    /// Counts whether a caller was established; one who showed nothing, or had no turn, is neither.
    pub(crate) fn authentication<T>(&self, result: &Result<T, Refusal>) {
        match result {
            Ok(_) => self.authenticated.inc(),
            Err(Refusal::Unauthenticated) => self.failed.inc(),
            Err(_) => 0,
        };
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("holdfast_iam");
        registry.register("authentications", "Calls whose caller was established", self.authenticated.clone());
        registry.register(
            "authentication_failures",
            "Calls, logins and enrolments with credentials that failed",
            self.failed.clone(),
        );
        registry.register("denials", "Calls that were refused, failed authentications included", self.denied.clone());
        registry.register("tokens_issued", "Tokens issued", self.issued.clone());
        registry.register(
            "connections_closed",
            "Connections closed because their callers may not go on",
            self.cut.clone(),
        );
        registry.register(
            "introspections_refused",
            "Questions about tokens that were not looked at, because their clients asked too often",
            self.introspections_refused.clone(),
        );
        registry.register("open", "1 while this server answers about identity", self.open.clone());
        registry.register(
            "unauthenticated_admin",
            "1 while anonymous callers are admins: a laboratory setting",
            self.unauthenticated_admin.clone(),
        );
        registry.register("secrets_compared", "Secrets of access keys compared", self.compared.clone());
        registry.register(
            "restore_waits",
            "1 while identities wait for the approval of a restore: an alarm",
            self.restore_waits.clone(),
        );
        registry.register(
            "break_glass",
            "1 while a break-glass grant that was used here is good: an alarm",
            self.break_glass.clone(),
        );
        registry.register(
            "issuing_certificate_end_seconds",
            "When the certificate ends that nodes' certificates are issued with, as Unix time",
            self.issuing_end.clone(),
        );
        registry.register(
            "admission_seconds",
            "Time to establish a request's caller and to decide about the request",
            self.admission.clone(),
        );
        registry.register("guessers_slowed", "Sources and names that reached the back-off", self.slowed.clone());
        registry.register(
            "join_token_alerts",
            "Join tokens that were used again with another key: an alarm",
            self.join_token_alerts.clone(),
        );
    }
}
