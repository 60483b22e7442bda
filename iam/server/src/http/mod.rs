//! OAuth2 and discovery: what any OIDC verifier and any OAuth2 client expects.

mod bundle;
mod discovery;
mod exchange;
mod introspect;
mod oauth;
mod revoke;
mod token;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};

use crate::Iam;

/// No form of the token endpoint is longer: an assertion with its chain is the largest part.
const MAX_FORM: usize = 64 * 1024;

impl Iam {
    /// `/jwks.json`, `/.well-known/openid-configuration`, `/spiffe/bundle` and what is below `/oauth2`. Their rules are
    /// [`crate::ACCESS_HTTP`].
    pub fn http(&self) -> Router {
        Router::new()
            .route("/jwks.json", get(discovery::jwks))
            .route("/.well-known/openid-configuration", get(discovery::configuration))
            .route("/spiffe/bundle", get(bundle::bundle))
            .route("/oauth2/token", post(token::token))
            .route("/oauth2/introspect", post(introspect::introspect))
            .route("/oauth2/revoke", post(revoke::revoke))
            .layer(DefaultBodyLimit::max(MAX_FORM))
            .with_state(self.clone())
    }
}
