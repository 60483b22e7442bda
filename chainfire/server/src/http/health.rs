use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{
    Pages,
    checks::{Check, alarm_reason},
};
use crate::{Profile, store::Store, wire};

#[derive(Serialize)]
struct Health {
    /// A word, not a boolean: that is what the monitors compare with.
    health: &'static str,
    /// Older releases do not say why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What a monitor asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    /// Names of alarms that do not matter to it.
    exclude: Vec<String>,
    /// Only this member's own state.
    serializable: bool,
}

pub(super) async fn page(State(Pages { store, profile }): State<Pages>, RawQuery(query): RawQuery) -> Response {
    let health = check(&store, &Query::of(query.as_deref().unwrap_or_default())).await;
    let (status, word, reason) = match health {
        Ok(()) => (StatusCode::OK, "true", String::new()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, "false", reason),
    };
    let reason = Some(reason).filter(|_| profile != Profile::V3_4);
    (status, Json(Health { health: word, reason })).into_response()
}

async fn check(store: &Store, query: &Query) -> Result<(), String> {
    let alarms = store.alarms().map_err(|error| error.to_string())?;
    let excluded = |kind| query.exclude.iter().any(|name| name == wire::alarm_name(kind));
    if let Some(alarm) = alarms.iter().find(|alarm| !excluded(alarm.kind)) {
        return Err(alarm_reason(alarm));
    }
    if query.serializable {
        return Check::SerializableRead.run(store).await;
    }
    if let Some(stall) = store.group().disk_stall().filter(|stall| stall.lasting) {
        return Err(format!("DISK STALLED: {stall}"));
    }
    if store.status().leader.is_none() {
        return Err("RAFT NO LEADER".to_owned());
    }
    Check::LinearizableRead.run(store).await
}

impl Query {
    fn of(query: &str) -> Self {
        let mut found = Self::default();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("exclude", name)) => found.exclude.push(name.to_owned()),
                Some(("serializable", value)) => found.serializable = value == "true",
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_excluded_one_by_one() {
        let query = Query::of("exclude=NOSPACE&serializable=true&exclude=CORRUPT&else");
        assert_eq!(query.exclude, ["NOSPACE", "CORRUPT"]);
        assert!(query.serializable);
        assert_eq!(Query::of(""), Query::default());
    }
}
