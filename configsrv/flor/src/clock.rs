use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    Error,
    machine::{BootId, Now},
};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Counts through suspend, so that a laptop that slept through its window rolls back when it wakes.
const UPTIME: &str = "/proc/uptime";

/// Where the present comes from.
pub(crate) trait Clock: Send + Sync {
    /// Fails rather than guesses: a window that is measured with a clock that stands still never ends.
    fn now(&self) -> Result<Now, Error>;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Result<Now, Error> {
        let boot = BootId(read(BOOT_ID, boot_id)?);
        Ok(Now { wall_ms: wall_ms(), uptime_ms: read(UPTIME, uptime_ms)?, boot })
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn read<T>(path: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::file(Path::new(path), &error))?;
    parse(&text).ok_or_else(|| Error::Unexpected(format!("{path} is not as Linux writes it: {text:?}")))
}

fn boot_id(text: &str) -> Option<String> {
    Some(text.trim()).filter(|id| !id.is_empty()).map(str::to_owned)
}

/// Of seconds with two decimals, and then something else.
fn uptime_ms(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let (seconds, hundredths): (u64, u64) = (seconds.parse().ok()?, hundredths.parse().ok()?);
    seconds.checked_mul(1000)?.checked_add(hundredths.checked_mul(10)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes_is_read_and_nothing_else() {
        assert_eq!(uptime_ms("1234.05 2345.67\n"), Some(1_234_050));
        for text in ["", "\n", "1234", "-1.00 2.00", "x.y", "18446744073709551615.00 1.00"] {
            assert_eq!(uptime_ms(text), None, "{text:?}");
        }
        assert_eq!(boot_id("1b4e28ba\n").as_deref(), Some("1b4e28ba"));
        assert_eq!(boot_id("\n"), None);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read("/nowhere/uptime", uptime_ms).unwrap_err();
        assert!(error.to_string().contains("/nowhere/uptime"), "{error}");
    }

    #[test]
    fn the_machine_says_what_time_it_is() {
        let (before, after) = (SystemClock.now().unwrap(), SystemClock.now().unwrap());
        assert_eq!(before.boot, after.boot);
        assert!(before.uptime_ms > 0 && before.uptime_ms <= after.uptime_ms);
    }
}
