use axum::{Json, Router, routing::get};
use serde::Serialize;

use super::only;
use crate::metrics::Process;

/// What etcd's runtime shows of itself; of its memory statistics there is what this process has too.
#[derive(Serialize)]
struct Variables {
    cmdline: Vec<String>,
    file_descriptor_limit: u64,
    memstats: Memory,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Memory {
    /// Bytes of address space.
    sys: u64,
    /// Bytes in memory.
    alloc: u64,
}

/// `/debug/vars`.
pub(crate) fn variables() -> Router {
    Router::new().route("/debug/vars", only(get(page)))
}

async fn page() -> Json<Variables> {
    let process = Process::now();
    Json(Variables {
        // Words need not be text.
        cmdline: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        file_descriptor_limit: process.files_allowed,
        memstats: Memory { sys: process.address_space, alloc: process.resident },
    })
}
