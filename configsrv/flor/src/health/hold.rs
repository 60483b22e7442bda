use std::time::Duration;

use tokio::time::Instant;

use crate::machine::Target;

/// Since when a version has been well.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hold(Option<(Target, Instant)>);

impl Hold {
    /// It is well now. How much longer it has to be; `None` when it was for long enough.
    pub(super) fn well(&mut self, target: Target, now: Instant, needed: Duration) -> Option<Duration> {
        let since = match self.0 {
            Some((known, since)) if known == target => since,
            _ => now,
        };
        self.0 = Some((target, since));
        let left = needed.saturating_sub(now.duration_since(since));
        if left.is_zero() { None } else { Some(left) }
    }

    pub(super) fn broken(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use configsrv_fleet::{Digest, Version};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn another_version_begins_anew() {
        let target = |number| Target { version: Version::new(number).unwrap(), digest: Digest::of(b"content") };
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let mut hold = Hold::default();
        assert_eq!(hold.well(target(1), begun, second * 3), Some(second * 3));
        assert_eq!(hold.well(target(1), begun + second, second * 3), Some(second * 2));
        assert_eq!(hold.well(target(2), begun + second * 2, second * 3), Some(second * 3));
        assert_eq!(hold.well(target(2), begun + second * 5, second * 3), None);
        hold.broken();
        assert_eq!(hold.well(target(2), begun + second * 6, second * 3), Some(second * 3));
        assert_eq!(hold.well(target(2), begun, Duration::ZERO), None);
    }
}
