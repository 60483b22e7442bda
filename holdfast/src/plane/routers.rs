//! What each web door serves, and the one layer in front of it.

use std::sync::Arc;

use axum::{Router, routing::get};
use chainfire_server::Chainfire;
use configsrv_server::{ConfigService, fleetlock};
use holdfast_telemetry::Metrics;
use http::header::CONTENT_TYPE;
use iam_client::{Access, Authority, IamLayer, Rule};
use iam_server::Iam;
use tonic::service::Routes;
use tower::ServiceBuilder;

use crate::config::FleetLockAuth;

/// The gRPC services that this server answers, for reflection: the descriptors hold more.
const SERVED: &[&str] = &[
    "etcdserverpb.Auth",
    "etcdserverpb.Cluster",
    "etcdserverpb.KV",
    "etcdserverpb.Lease",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Watch",
    "v3electionpb.Election",
    "v3lockpb.Lock",
    "holdfast.chainfire.v1.Admin",
    "holdfast.chainfire.v1.History",
    "configsrv.v1.ConfigService",
    "flaredb.v1.Flaredb",
    "iam.v1.Admin",
    "iam.v1.Authz",
    "iam.v1.Credentials",
    "iam.v1.Enrollment",
    "iam.v1.Recovery",
    "iam.v1.Rotation",
    "iam.v1.Tokens",
    "iam.v1.Trust",
    "iam.v1.Policies",
    "iam.v1.Verifiers",
    "grpc.health.v1.Health",
];

/// What each gRPC route demands.
const GRPC_RULES: &[&[Rule]] =
    &[COMMON, chainfire_server::ACCESS, iam_server::ACCESS_GRPC, configsrv_server::ACCESS_GRPC, flaredb_server::ACCESS];

/// Metrics tell much about a fleet; only the lab shows them to everybody.
const METRICS: &[Rule] =
    &[Rule::new("/metrics", Access::Permission { action: "cluster.Read", resource: "cluster/metrics" })];
const LAB_METRICS: &[Rule] = &[Rule::new("/metrics", Access::Public)];

/// Routes that belong to no service.
const COMMON: &[Rule] = &[
    Rule::new("/grpc.health.v1.Health/*", Access::Public),
    // Reflection shows interfaces, never data; tools ask it before they can log in.
    Rule::new("/grpc.reflection.v1.ServerReflection/*", Access::Public),
    Rule::new("/grpc.reflection.v1alpha.ServerReflection/*", Access::Public),
];

/// The services behind the API door.
pub(super) fn api(
    chainfire: &Chainfire,
    iam: &Iam,
    config: &ConfigService,
    history: &flaredb_server::Flaredb,
    metrics: &Metrics,
    dev: bool,
) -> anyhow::Result<Router> {
    let identity = Arc::new(iam.clone());
    let doors =
        chainfire_server::Doors { keys: identity.clone(), login: Some(identity.clone()), disclosures: Some(identity) };
    let services = iam.add_to(chainfire.routes(doors));
    let services = services.add_service(history.grpc()).add_service(configsrv_server::grpc(config.clone()));
    let router = with_reflection(services)?.merge(chainfire.http()).merge(metrics_page(metrics));
    let guarded = guarded(router, iam, GRPC_RULES.iter().copied().chain([metrics_rules(dev)]));
    // What comes in JSON is guarded as the gRPC call that it becomes.
    Ok(chainfire.gateway()?.in_front_of(guarded.clone(), guarded))
}

/// The services behind the HTTP door.
pub(super) fn http(
    iam: &Iam,
    config: &ConfigService,
    history: &flaredb_server::Flaredb,
    locks: FleetLockAuth,
    metrics: &Metrics,
    dev: bool,
) -> Router {
    let router = configsrv_server::router(config.clone()).merge(iam.http()).merge(history.http());
    let router = router.merge(metrics_page(metrics));
    let lock_rules = match locks {
        FleetLockAuth::None => configsrv_server::ACCESS_FLEETLOCK_OPEN,
        FleetLockAuth::Basic | FleetLockAuth::Token | FleetLockAuth::Mtls => {
            configsrv_server::ACCESS_FLEETLOCK_AUTHENTICATED
        }
    };
    let rules = [COMMON, iam_server::ACCESS_HTTP, configsrv_server::ACCESS_HTTP, flaredb_server::ACCESS_HTTP];
    guarded(router, iam, rules.into_iter().chain([lock_rules, metrics_rules(dev)]))
}

fn metrics_rules(dev: bool) -> &'static [Rule] {
    if dev { LAB_METRICS } else { METRICS }
}

fn guarded(router: Router, iam: &Iam, rules: impl IntoIterator<Item = &'static [Rule]>) -> Router {
    let authority: Arc<dyn Authority> = Arc::new(iam.clone());
    let rules = rules.into_iter().flatten().copied();
    let layers = ServiceBuilder::new()
        // Lock clients join base and path with two slashes, which the layer would refuse as a disguise.
        .map_request(fleetlock::collapse_slashes)
        .layer(IamLayer::new(authority, rules));
    // A fallback inside the layer: an unknown path is refused like any path without a rule.
    Router::new().fallback_service(layers.service(router))
}

fn with_reflection(services: Routes) -> anyhow::Result<Router> {
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(holdfast_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        SERVED.iter().fold(builder, |builder, service| builder.with_service_name(*service))
    };
    let (_, health) = tonic_health::server::health_reporter();
    Ok(services
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(health)
        .into_axum_router())
}

fn metrics_page(metrics: &Metrics) -> Router {
    let metrics = metrics.clone();
    Router::new()
        .route("/metrics", get(move || async move { ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], metrics.encode()) }))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Default deny makes a forgotten rule a dead method, and a forgotten service an invisible one.
    #[test]
    fn every_served_method_has_a_rule() {
        let files = FileDescriptorSet::decode(holdfast_proto::DESCRIPTORS).unwrap().file;
        let mut methods = 0;
        for file in &files {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                if !SERVED.contains(&name.as_str()) {
                    continue;
                }
                for method in &service.method {
                    let path = format!("/{name}/{}", method.name());
                    let rules = GRPC_RULES.iter().flat_map(|rules| rules.iter());
                    assert!(rules.clone().any(|rule| rule.matches(&path)), "{path} has no rule");
                    methods += 1;
                }
            }
        }
        assert!(methods > 50, "{methods} methods");
    }
}
