use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The kernel's id of this boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BootId(pub String);

/// The present, as three clocks tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Unix time in milliseconds; people and NTP move it.
    pub wall_ms: u64,
    /// Milliseconds since boot; nobody moves it.
    pub uptime_ms: u64,
    pub boot: BootId,
}

/// The window in which an activated version must be confirmed. Within a boot the uptime decides, so that a moved wall
/// clock neither cuts the window short nor lengthens it. Over a reboot, whichever says that less is left wins: the wall
/// clock, or what was left when the agent last wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Guard {
    pub armed_wall_ms: u64,
    pub armed_uptime_ms: u64,
    pub armed_boot: BootId,
    /// What was left when it was armed, or written down last.
    pub remaining_ms: u64,
    pub deadline_wall_ms: u64,
}

impl Guard {
    pub(crate) fn new(window: Duration, now: &Now) -> Self {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        Self {
            armed_wall_ms: now.wall_ms,
            armed_uptime_ms: now.uptime_ms,
            armed_boot: now.boot.clone(),
            remaining_ms: window_ms,
            deadline_wall_ms: now.wall_ms.saturating_add(window_ms),
        }
    }

    /// What is left, in milliseconds; 0 when the window is over.
    pub(crate) fn left_ms(&self, now: &Now) -> u64 {
        if self.armed_boot == now.boot {
            return self.remaining_ms.saturating_sub(now.uptime_ms.saturating_sub(self.armed_uptime_ms));
        }
        self.remaining_ms.min(self.deadline_wall_ms.saturating_sub(now.wall_ms))
    }

    /// The same window, written down now: less is left, and nothing is ever added.
    pub(crate) fn written_down(&self, now: &Now) -> Self {
        Self {
            armed_wall_ms: self.armed_wall_ms,
            armed_uptime_ms: now.uptime_ms,
            armed_boot: now.boot.clone(),
            remaining_ms: self.left_ms(now),
            deadline_wall_ms: self.deadline_wall_ms,
        }
    }
}
