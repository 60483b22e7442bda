//! What an admin does outside of the protocol. Every change carries a reason, which the audit journal keeps.

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
};
use chainfire_core::system::{LockAsker, LockGroup, LockHolder, LockPolicy};
use http::Uri;
use iam_client::Identity;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::request::{Claim, is_group, is_id};
use crate::{
    ConfigService, Error,
    http::{Failure, Query, caller, query_of, read_body},
};

const MOST_GROUPS: usize = 500;
const LARGEST_BODY: usize = 8 * 1024;
const LONGEST_REASON: usize = 1024;

#[derive(Serialize)]
pub(super) struct Groups {
    groups: Vec<Group>,
}

/// A group as an admin sees it.
#[derive(Serialize)]
struct Group {
    group: String,
    /// Of the stored policy.
    slots: Option<u32>,
    slots_in_force: u32,
    frozen: Option<String>,
    holders: Vec<Holder>,
}

#[derive(Serialize)]
struct Holder {
    #[serde(flatten)]
    stored: LockHolder,
    /// When it last asked this server; when it got the slot, if it did not since.
    last_seen_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    id: String,
    reason: String,
}

#[derive(Serialize)]
pub(super) struct Released {
    /// False if the id held nothing.
    held: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    slots: u32,
    frozen: Option<String>,
    reason: String,
}

#[derive(Serialize)]
pub(super) struct PolicySet {
    revision: u64,
}

/// `GET /locks?after=&limit=`.
pub(super) async fn list(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    uri: Uri,
) -> Result<Json<Groups>, Failure> {
    service.authorize(&caller(identity)?, "lock.Read", "lock/*")?;
    let query = Query::parse(query_of(&uri), &["after", "limit"])?;
    let groups = service.groups(query.text("after"), query.limit(MOST_GROUPS)?)?;
    Ok(Json(Groups { groups: groups.into_iter().map(|group| shown(&service, group)).collect() }))
}

fn shown(service: &ConfigService, group: LockGroup) -> Group {
    let LockGroup { group, slots, frozen, holders } = group;
    let holder = |stored: LockHolder| {
        let last_seen_ms = service.lock_seen().at_ms(&group, &stored.id).unwrap_or(stored.granted_at_ms);
        Holder { stored, last_seen_ms }
    };
    let holders = holders.into_iter().map(holder).collect();
    let slots_in_force = slots.unwrap_or_else(|| service.settings().fleetlock.slots(&group));
    Group { group, slots, slots_in_force, frozen, holders }
}

/// `POST /locks/{group}/release`.
pub(super) async fn release(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    Path(group): Path<String>,
    body: Body,
) -> Result<Json<Released>, Failure> {
    let identity = admin(&service, identity, &group)?;
    let Release { id, reason } = parse(body).await?;
    check_reason(&reason)?;
    if !is_id(&id) {
        return Err(Error::BadBody("id must be 1 to 253 bytes without control characters".into()).into());
    }
    let asker = LockAsker::Admin(identity.principal.to_string());
    let claim = Claim { group, id };
    let held = service.release(identity.origin(), asker, &claim, Some(reason)).await?;
    let Claim { group, id } = claim;
    tracing::info!(group, id, by = %identity.principal, held, "reboot lock released by an admin");
    Ok(Json(Released { held }))
}

/// `POST /locks/{group}/policy`.
pub(super) async fn policy(
    State(service): State<ConfigService>,
    identity: Option<Extension<Identity>>,
    Path(group): Path<String>,
    body: Body,
) -> Result<Json<PolicySet>, Failure> {
    let identity = admin(&service, identity, &group)?;
    let Policy { slots, frozen, reason } = parse(body).await?;
    check_reason(&reason)?;
    if frozen.as_ref().is_some_and(|frozen| frozen.len() > LONGEST_REASON) {
        return Err(Error::BadBody(format!("frozen is limited to {LONGEST_REASON} bytes")).into());
    }
    let policy = LockPolicy { group, slots, frozen, reason };
    let revision = service.set_policy(identity.origin(), policy).await?;
    Ok(Json(PolicySet { revision }))
}

fn admin(service: &ConfigService, identity: Option<Extension<Identity>>, group: &str) -> Result<Identity, Error> {
    let identity = caller(identity)?;
    service.authorize(&identity, "lock.Admin", &format!("lock/{group}"))?;
    if is_group(group) {
        Ok(identity)
    } else {
        Err(Error::BadQuery("group must be 1 to 253 of letters, digits, dots and hyphens".into()))
    }
}

fn check_reason(reason: &str) -> Result<(), Error> {
    if reason.trim().is_empty() || reason.len() > LONGEST_REASON {
        return Err(Error::BadBody(format!("a reason of 1 to {LONGEST_REASON} bytes is required")));
    }
    Ok(())
}

async fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Error> {
    let body = read_body(body, "the request", LARGEST_BODY).await?;
    serde_json::from_slice(&body).map_err(|error| Error::BadBody(error.to_string()))
}
