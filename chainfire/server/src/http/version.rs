use axum::{Json, extract::State};
use serde::Serialize;

use super::Pages;
use crate::Profile;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Version {
    etcdserver: &'static str,
    etcdcluster: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<&'static str>,
}

pub(super) async fn page(State(Pages { store, profile }): State<Pages>) -> Json<Version> {
    Json(Version::of(profile, store.is_founded()))
}

impl Version {
    /// Before a cluster has begun its members have agreed on nothing.
    fn of(profile: Profile, founded: bool) -> Self {
        Self {
            etcdserver: profile.server(),
            etcdcluster: if founded { profile.cluster() } else { "not_decided" },
            storage: profile.storage().map(|storage| if founded { storage } else { "unknown" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §1.4.
    #[test]
    fn what_is_not_agreed_on_is_not_told() {
        let early = Version::of(Profile::V3_6, false);
        assert_eq!((early.etcdcluster, early.storage), ("not_decided", Some("unknown")));
        assert_eq!(Version::of(Profile::V3_4, false).storage, None);
        assert_eq!(Version::of(Profile::V3_4, true).etcdcluster, "3.4.0");
    }
}
