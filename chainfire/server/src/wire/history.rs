use chainfire_core::kv::{KeyVersion, Revision, VersionsOf};
use holdfast_proto::chainfire::{Version, VersionsRequest};

use super::answer;

/// The versions of a key up to `newest`, the store's revision.
pub(crate) fn versions_of(request: VersionsRequest, newest: Revision) -> VersionsOf {
    let upto = if request.to_revision > 0 { Revision(request.to_revision).min(newest) } else { newest };
    VersionsOf {
        key: request.key,
        from: Revision(request.from_revision.max(0)),
        upto,
        newest_first: request.newest_first,
        keys_only: request.keys_only,
    }
}

pub(crate) fn version(version: KeyVersion) -> Version {
    Version {
        r#type: answer::event_type(version.kind).into(),
        kv: Some(answer::key_value(version.kv)),
        time_ms: time(version.time_ms),
    }
}

/// 0 where a time is not known.
pub(crate) fn time(time_ms: Option<u64>) -> i64 {
    time_ms.map_or(0, |time_ms| i64::try_from(time_ms).unwrap_or(i64::MAX))
}
