use std::{collections::BTreeMap, time::Duration};

/// What an operator may set, and the limits of what is taken from the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Published trees whose artifacts are kept, besides those that nodes still report.
    pub keep_versions: usize,
    pub limits: Limits,
    /// The longest that a long poll is held.
    pub longest_wait: Duration,
    /// How long staged records that nothing refers to are left alone.
    pub orphan_age: Duration,
    /// How often old versions and orphans are collected.
    pub collect_every: Duration,
    pub waits: Waits,
    pub fleetlock: LockSettings,
}

/// How long a node may be in a state that has no deadline of its own before that is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Until it has fetched what is published. People start syncs, so this is long.
    pub fetched: Duration,
    /// Until it says what became of what it fetched, or was about to activate without a window.
    pub reported: Duration,
}

/// Bounds of a published tree. How deep an artifact may be nested is no setting: every reader has the same bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub body_bytes: usize,
    pub artifact_bytes: usize,
    pub nodes: usize,
}

/// How machines may use the reboot lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockSettings {
    pub client_auth: ClientAuth,
    /// Slots of a group that has neither a stored policy nor a line in `groups`.
    pub default_slots: u32,
    /// Slots by group.
    pub groups: BTreeMap<String, u32>,
    /// Whether a group that is not in `groups` and has no stored policy is refused.
    pub listed_only: bool,
}

/// How a client of the lock proves itself. The protocol itself has no authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    /// `Authorization: Basic`, the only one that an unmodified Zincati can send.
    Basic,
    Token,
    Mtls,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_versions: 50,
            limits: Limits::default(),
            longest_wait: Duration::from_secs(60),
            orphan_age: Duration::from_secs(3600),
            collect_every: Duration::from_secs(600),
            waits: Waits::default(),
            fleetlock: LockSettings::default(),
        }
    }
}

impl Default for Waits {
    fn default() -> Self {
        Self { fetched: Duration::from_secs(7 * 24 * 3600), reported: Duration::from_secs(900) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 32 << 20, artifact_bytes: 4 << 20, nodes: 10_000 }
    }
}

impl Default for LockSettings {
    fn default() -> Self {
        Self { client_auth: ClientAuth::None, default_slots: 1, groups: BTreeMap::new(), listed_only: false }
    }
}

impl LockSettings {
    /// Whether the configuration names `group`.
    pub(crate) fn lists(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Slots of `group` while it has no stored policy.
    pub(crate) fn slots(&self, group: &str) -> u32 {
        self.groups.get(group).copied().unwrap_or(self.default_slots)
    }
}
