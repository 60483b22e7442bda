//! The FleetLock protocol: a counting semaphore per group for machines that want to reboot.
//!
//! Only 200 is success and nothing here redirects, because clients take any 2xx for a grant and turn a redirected
//! POST into a GET. Every refusal is JSON `{kind, value}`: `kind` becomes a metric label on every node, so its values
//! are few; `value` is the only thing that the node's admin sees, so it says who holds since when.
//!
//! Where clients prove who they are, a slot is the principal's that took it: nobody else repeats or releases it, and it
//! has one of a group. Who may `lock.Admin` is not bound by that. Only grants, releases and policies are written;
//! everything else is answered from a read, and refusals reach the history summed up.

mod admin;
mod client;
mod door;
mod locks;
mod metrics;
mod refusal;
mod request;
mod seen;

use axum::{
    Router,
    routing::{any, get, post},
};
use http::{Request, Uri, uri::PathAndQuery};

pub use metrics::LockMetrics;
pub use request::is_group;

pub(crate) use locks::NoRoom;
pub(crate) use seen::Seen;

use crate::ConfigService;

pub(crate) fn routes() -> Router<ConfigService> {
    Router::new()
        .route("/v1/pre-reboot", any(door::pre_reboot))
        .route("/v1/steady-state", any(door::steady_state))
        .route("/v1/{*rest}", any(door::nothing_here))
        .route("/-/healthy", get(|| async { "ok" }))
        .route("/locks", get(admin::list))
        .route("/locks/{group}/release", post(admin::release))
        .route("/locks/{group}/policy", post(admin::policy))
}

/// Takes the second slash away that clients send whose base URL ends in one (`//v1/pre-reboot`). It belongs in front
/// of everything that looks at paths; answering with a redirect would turn a lock request into a GET.
pub fn collapse_slashes<B>(mut request: Request<B>) -> Request<B> {
    let path = request.uri().path();
    let single = path.trim_start_matches('/');
    if path.len() == single.len() + 1 || !single.starts_with("v1/") {
        return request;
    }
    let rest = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(path) = PathAndQuery::try_from(format!("/{single}{rest}")) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lock_s_own_paths_are_collapsed() {
        let collapsed = |uri: &str| collapse_slashes(Request::builder().uri(uri).body(()).unwrap()).uri().to_string();
        assert_eq!(collapsed("//v1/pre-reboot"), "/v1/pre-reboot");
        assert_eq!(collapsed("///v1/pre-reboot?x=1"), "/v1/pre-reboot?x=1");
        assert_eq!(collapsed("http://h:8080//v1/steady-state"), "http://h:8080/v1/steady-state");
        assert_eq!(collapsed("/v1/pre-reboot"), "/v1/pre-reboot");
        assert_eq!(collapsed("//nodes"), "//nodes");
    }
}
