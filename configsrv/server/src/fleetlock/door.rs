use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, header};

use super::{
    client::Client,
    locks::Granted,
    refusal::Refusal,
    request::{Claim, LARGEST_BODY, check_header},
};
use crate::{ConfigService, http::read_body};

/// `POST /v1/pre-reboot`: takes a slot before a reboot.
pub(super) async fn pre_reboot(State(service): State<ConfigService>, request: Request) -> Response {
    answer(&service, take(&service, request).await)
}

/// `POST /v1/steady-state`: gives the slot back, if one is held.
pub(super) async fn steady_state(State(service): State<ConfigService>, request: Request) -> Response {
    answer(&service, give_back(&service, request).await)
}

/// Everything else below `/v1/`: in JSON, so that a node with a wrong base URL logs why.
pub(super) async fn nothing_here(State(service): State<ConfigService>) -> Response {
    answer(&service, Err(Refusal::NotFound))
}

async fn take(service: &ConfigService, request: Request) -> Result<&'static str, Refusal> {
    let (claim, client) = enter(service, request).await?;
    let metrics = service.lock_metrics();
    metrics.lock_asked();
    match service.lock(&client, &claim).await {
        Ok(Granted { holder, new }) => {
            metrics.held(&claim.group, true);
            if new {
                tracing::info!(group = claim.group, id = claim.id, grant = holder.grant, "reboot lock granted");
            }
            Ok(if new { "granted\n" } else { "already held\n" })
        }
        Err(refusal) => {
            if let Refusal::SemaphoreFull { holders, .. } = &refusal {
                metrics.held(&claim.group, !holders.is_empty());
            }
            tracing::debug!(group = claim.group, id = claim.id, kind = refusal.kind(), "reboot lock refused");
            Err(refusal)
        }
    }
}

async fn give_back(service: &ConfigService, request: Request) -> Result<&'static str, Refusal> {
    let (claim, client) = enter(service, request).await?;
    let metrics = service.lock_metrics();
    metrics.unlock_asked();
    let released = service.unlock(&client, &claim).await?;
    let held = service.group(&claim.group)?.is_some_and(|group| !group.holders.is_empty());
    metrics.held(&claim.group, held);
    if released {
        metrics.released(&claim.group);
        tracing::info!(group = claim.group, id = claim.id, "reboot lock released");
    }
    Ok(if released { "released\n" } else { "not held\n" })
}

/// Method, header, size, JSON, group, id, then who asks: in this order, so that the first thing that is wrong is the
/// one that is named.
async fn enter(service: &ConfigService, request: Request) -> Result<(Claim, Client), Refusal> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return Err(Refusal::MethodNotAllowed);
    }
    check_header(&parts.headers)?;
    let claim = read(body).await?;
    let client = Client::new(service, &parts.extensions, &claim)?;
    Ok((claim, client))
}

async fn read(body: Body) -> Result<Claim, Refusal> {
    let body = read_body(body, "a lock request", LARGEST_BODY).await?;
    Claim::parse(&body)
}

fn answer(service: &ConfigService, outcome: Result<&'static str, Refusal>) -> Response {
    match outcome {
        Ok(text) => {
            let mut response = text.into_response();
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        Err(refusal) => refusal.response(service.settings().fleetlock.client_auth),
    }
}
