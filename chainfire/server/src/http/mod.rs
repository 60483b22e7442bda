//! The plain HTTP pages of the API port, as etcd's monitors know them.

mod checks;
mod health;
mod probes;
mod vars;
mod version;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get},
};

use crate::{Profile, store::Store};

pub(crate) use vars::variables;

/// What the pages are made from.
#[derive(Clone)]
struct Pages {
    store: Arc<Store>,
    profile: Profile,
}

/// `/health`, `/version` and, where the release has them, `/livez` and `/readyz`, to be merged into the router of the
/// API port.
pub(crate) fn router(store: Arc<Store>, profile: Profile) -> Router {
    let mut router =
        Router::new().route("/health", only(get(health::page))).route("/version", only(get(version::page)));
    if profile.has_probes() {
        for root in [&probes::LIVE, &probes::READY] {
            let all = move |State(pages): State<Pages>, query| probes::page(pages, root.checks, query);
            router = router.route(root.path, only(get(all)));
            for one in root.checks {
                let path = format!("{}/{}", root.path, one.name());
                let alone = std::slice::from_ref(one);
                let page = move |State(pages): State<Pages>, query| probes::page(pages, alone, query);
                router = router.route(&path, only(get(page)));
            }
        }
    }
    router.with_state(Pages { store, profile })
}

/// Refuses every other method than GET, HEAD included.
fn only<S: Clone + Send + Sync + 'static>(page: MethodRouter<S>) -> MethodRouter<S> {
    page.head(not_allowed).fallback(not_allowed)
}

async fn not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")], "Method Not Allowed\n").into_response()
}
