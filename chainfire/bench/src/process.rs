use std::fs;

use anyhow::{Context as _, Result};

/// Bytes of memory that a process occupies (Linux: `VmRSS`).
pub(crate) fn memory(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    resident(&status).with_context(|| format!("{path} tells no memory"))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_page_is_read() {
        assert_eq!(resident("Name:\tetcd\nVmRSS:\t    2048 kB\nThreads:\t7\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tetcd\n"), None);
        assert!(memory(std::process::id()).unwrap() > 1 << 20);
    }
}
