use std::fs;

use axum::{Json, Router, routing::get};
use serde::Serialize;

/// What etcd's runtime shows of itself; of its memory statistics there is what this process has too.
#[derive(Serialize)]
struct Variables {
    cmdline: Vec<String>,
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
    Router::new().route("/debug/vars", get(page))
}

async fn page() -> Json<Variables> {
    let statistics = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    Json(Variables { cmdline: std::env::args().collect(), memstats: Memory::of(&statistics) })
}

impl Memory {
    /// Reads the kernel's counts, which are in pages; zeroes where there are none.
    fn of(statm: &str) -> Self {
        const PAGE: u64 = 4_096;
        let mut pages = statm.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        let mut next = || pages.next().unwrap_or(0).saturating_mul(PAGE);
        Self { sys: next(), alloc: next() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_in_pages() {
        let memory = Memory::of("10 3 1 1 0 2 0\n");
        assert_eq!((memory.sys, memory.alloc), (40_960, 12_288));
        assert_eq!(Memory::of("").sys, 0);
    }
}
