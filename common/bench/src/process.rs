use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// The kernel's unit of time in `/proc`, the same on every architecture that we build for.
const TICKS_PER_SECOND: u64 = 100;

/// Bytes of memory that a process occupies (Linux: `VmRSS`).
///
/// # Errors
/// When there is no such process.
pub fn memory(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    resident(&status).with_context(|| format!("{path} tells no memory"))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

/// For how long all threads of a process have computed, for themselves and in the kernel.
///
/// # Errors
/// When there is no such process.
pub fn busy(id: u32) -> Result<Duration> {
    let path = format!("/proc/{id}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = computed(&stat).with_context(|| format!("{path} tells no times"))?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// `utime` and `stime`: the 14th and the 15th field, behind a name that may contain anything.
fn computed(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_page_is_read() {
        assert_eq!(resident("Name:\tetcd\nVmRSS:\t    2048 kB\nThreads:\t7\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tetcd\n"), None);
        assert!(memory(std::process::id()).unwrap() > 1 << 20);
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 6 7 20 0 1 0 99";
        assert_eq!((computed(stat), computed("7 (a)")), (Some(200), None));
        busy(std::process::id()).unwrap();
    }
}
