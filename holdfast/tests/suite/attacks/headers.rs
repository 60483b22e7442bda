//! Identity smuggled in headers and paths.

use tonic::Code;

use super::{AUTHENTICATE, Attack, NOBODY, Row, grpc, http, row, scene::Scene};
use crate::http::Request;

/// What proxies, meshes and other products tell the servers behind them.
const SMUGGLED: [(&str, &str); 12] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-user", "user/root"),
    ("x-forwarded-client-cert", "URI=spiffe://testkit/user/root"),
    ("x-remote-user", "user/root"),
    ("x-remote-group", "wheel"),
    ("x-real-ip", "127.0.0.1"),
    ("x-ssl-client-s-dn", "CN=root"),
    ("forwarded", "for=127.0.0.1;by=holdfast"),
    ("x-request-id", "system"),
    ("x-holdfast-principal", "bootstrap/admin"),
    ("grpcgateway-authorization", "Bearer admin"),
    ("x-original-url", "/health"),
];

fn smuggling(request: Request<'static>) -> Request<'static> {
    SMUGGLED.iter().fold(request, |request, (name, value)| request.header(name, *value))
}

fn contradicting() -> Row {
    row(NOBODY, AUTHENTICATE, "iam/headers", "credentials that contradict each other, or that cannot be read")
}

#[rustfmt::skip]
pub(super) fn table(scene: &Scene) -> Vec<Attack> {
    let (mira, admin) = (&scene.mira, &scene.admin);
    let create = || Request::grpc("/iam.v1.Admin/CreatePrincipal", b"\n\x06user/x");
    let bearer = |token: &str| format!("Bearer {token}");
    let nothing = row(NOBODY, "route.Call", "route/*", "no credentials");
    let route = |path: &str| row("user/mira", "route.Call", &format!("route{path}"), "nothing permits it");
    vec![
        grpc("nothing but proxies' headers", smuggling(create()), Code::Unauthenticated, nothing.clone()),
        http("the same at the web door", smuggling(Request::get("/versions")), 401, "authentication_required", nothing.clone()),
        grpc("proxies' headers beside a reader's token", smuggling(create()).bearer(mira), Code::PermissionDenied, row("user/mira", "iam.Admin", "iam/*", "nothing permits it")),
        grpc("proxies' headers beside a node's certificate", smuggling(create()), Code::PermissionDenied, row("node/pier1", "iam.Admin", "iam/*", "nothing permits it")).by(&scene.pier1),
        grpc("two authorizations", create().bearer(mira).bearer(admin), Code::Unauthenticated, contradicting()),
        grpc("two in one header", create().header("authorization", format!("{}, {}", bearer(mira), bearer(admin))), Code::Unauthenticated, row(NOBODY, AUTHENTICATE, "iam/secrets", "malformed token, or a wrong bootstrap token")),
        grpc("token metadata beside a bearer", create().bearer(mira).header("token", admin.clone()), Code::Unauthenticated, contradicting()),
        grpc("two tokens in metadata", create().header("token", mira.clone()).header("token", admin.clone()), Code::Unauthenticated, contradicting()),
        grpc("an empty bearer beside a token", create().header("authorization", "").header("token", admin.clone()), Code::Unauthenticated, contradicting()),
        http("a path that others read differently", Request::get("//versions").bearer(mira), 403, "permission_denied", route("//versions")),
        http("a way up", Request::get("/jwks.json/../versions").bearer(mira), 403, "permission_denied", route("/jwks.json/../versions")),
        http("an encoded path", Request::get("/%76ersions").bearer(mira), 403, "permission_denied", route("/%76ersions")),
        http("a way up without a token", Request::get("/jwks.json/../versions"), 401, "authentication_required", nothing.clone()),
        grpc("a method that is not there", Request::grpc("/iam.v1.Admin/status", b"").bearer(mira), Code::PermissionDenied, row("user/mira", "iam.Admin", "iam/*", "nothing permits it")),
        grpc("a service that is not there", Request::grpc("/iam.v1.Root/Shell", b"").bearer(mira), Code::PermissionDenied, route("/iam.v1.Root/Shell")),
    ]
}
