use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::machine::{BootId, Now};

/// Where the present comes from.
pub(crate) trait Clock: Send + Sync {
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Now { wall_ms: wall_ms(), uptime_ms: uptime_ms(), boot: BootId(boot.trim().to_owned()) }
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Counts through suspend, so that a laptop that slept through its window rolls back when it wakes.
fn uptime_ms() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let mut parts = text.split_whitespace().next().unwrap_or_default().splitn(2, '.');
    let mut part = || parts.next().and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
    let (seconds, hundredths) = (part(), part());
    seconds.saturating_mul(1000).saturating_add(hundredths.saturating_mul(10))
}
