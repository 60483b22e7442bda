//! What each web door serves, and the one layer in front of it.

use std::sync::Arc;

use axum::{Router, body::Body, extract::Request, routing::get};
use chainfire_server::Chainfire;
use configsrv_server::ConfigService;
use holdfast_rpc::Connection;
use holdfast_telemetry::Metrics;
use http::header::CONTENT_TYPE;
use iam_client::{Access, Authority, ConnectionInfo, IamLayer, Rule};
use iam_server::Iam;
use tonic::service::Routes;
use tower::ServiceBuilder;

use super::bridges::IamDoors;
use crate::config::FleetLockAuth;

/// Routes that belong to no service.
const COMMON: &[Rule] = &[
    Rule::new("/metrics", Access::Permission { action: "cluster.Read", resource: "cluster/metrics" }),
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
) -> anyhow::Result<Router> {
    let doors = IamDoors::new(iam.clone());
    let services = iam.add_to(chainfire.routes(doors.for_chainfire()));
    let services = services.add_service(history.grpc()).add_service(configsrv_server::grpc(config.clone()));
    let router = with_reflection(services)?.merge(chainfire.http()).merge(metrics_page(metrics));
    let rules = [
        COMMON,
        chainfire_server::ACCESS,
        iam_server::ACCESS_GRPC,
        configsrv_server::ACCESS_GRPC,
        flaredb_server::ACCESS,
    ];
    Ok(guarded(router, iam, &rules))
}

/// The services behind the HTTP door.
pub(super) fn http(iam: &Iam, config: &ConfigService, locks: FleetLockAuth, metrics: &Metrics) -> Router {
    let router =
        configsrv_server::router(config.clone()).merge(iam.http()).merge(metrics_page(metrics));
    let lock_rules = match locks {
        FleetLockAuth::None => configsrv_server::ACCESS_FLEETLOCK_OPEN,
        FleetLockAuth::Basic | FleetLockAuth::Token | FleetLockAuth::Mtls => {
            configsrv_server::ACCESS_FLEETLOCK_AUTHENTICATED
        }
    };
    guarded(router, iam, &[COMMON, iam_server::ACCESS_HTTP, configsrv_server::ACCESS_HTTP, lock_rules])
}

fn guarded(router: Router, iam: &Iam, rules: &[&[Rule]]) -> Router {
    let authority: Arc<dyn Authority> = Arc::new(iam.clone());
    let rules = rules.iter().flat_map(|rules| rules.iter().copied());
    let layers = ServiceBuilder::new().map_request(with_connection).layer(IamLayer::new(authority, rules));
    // A fallback inside the layer: an unknown path is refused like any path without a rule.
    Router::new().fallback_service(layers.service(router))
}

/// Tells the layer what the listener knows.
fn with_connection(mut request: Request<Body>) -> Request<Body> {
    if let Some(known) = request.extensions().get::<Connection>() {
        let info = ConnectionInfo { source: Some(known.source), certificates: known.certificates.to_vec() };
        request.extensions_mut().insert(info);
    }
    request
}

fn with_reflection(services: Routes) -> anyhow::Result<Router> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(holdfast_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
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
