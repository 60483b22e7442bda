//! `/livez`: whether to restart the process; `/readyz`: whether to send it requests. Each check has a page of its own
//! below.

use std::fmt::Write as _;

use axum::{
    extract::RawQuery,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::{Pages, checks::Check};

/// A page and its checks, in the order in which they are told.
pub(super) struct Root {
    pub(super) path: &'static str,
    pub(super) checks: &'static [Check],
}

pub(super) static LIVE: Root = Root { path: "/livez", checks: &[Check::SerializableRead] };
pub(super) static READY: Root = Root {
    path: "/readyz",
    checks: &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner],
};

/// Runs `checks` but those that are excluded.
pub(super) async fn page(Pages { store, .. }: Pages, checks: &'static [Check], RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let words: Vec<(&str, &str)> = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    let excluded = |check: &Check| words.contains(&("exclude", check.name()));
    let verbose = words.iter().any(|(word, _)| *word == "verbose");
    let mut told = String::new();
    let mut well = true;
    for check in checks.iter().filter(|check| !excluded(check)) {
        let name = check.name();
        // Writing to a String cannot fail.
        let _ = match check.run(&store).await {
            Ok(()) => writeln!(told, "[+]{name} ok"),
            Err(reason) => {
                well = false;
                writeln!(told, "[-]{name} failed: {reason}")
            }
        };
    }
    let (status, text) = match (well, verbose) {
        (true, false) => (StatusCode::OK, "ok\n".to_owned()),
        (true, true) => (StatusCode::OK, format!("{told}ok\n")),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, format!("{told}\n")),
    };
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, text).into_response()
}
