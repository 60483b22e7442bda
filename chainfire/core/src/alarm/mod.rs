//! Alarms: what one member has found and all must heed, by member and kind, until somebody clears them. While space is
//! short anywhere, nothing that needs space is accepted; where data differ, the user keyspace answers nothing.

mod store;

use serde::{Deserialize, Serialize};

pub use store::alarms;
pub(crate) use store::{clear, raise};

use crate::{UserCommand, UserError, quota};

/// Order is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alarm {
    /// The member that the alarm is about, by its id in the etcd API; 0 where nobody can tell which it is.
    pub member: u64,
    pub kind: AlarmKind,
}

/// Order is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlarmKind {
    /// The user keyspace has reached the member's quota.
    NoSpace,
    /// The member's data differ from the others'.
    Corrupt,
}

/// Why `command` is refused while `alarms` last.
pub(crate) fn refusal(alarms: &[Alarm], command: &UserCommand) -> Option<UserError> {
    let active = |kind| alarms.iter().any(|alarm| alarm.kind == kind);
    // Users and logins are no keys, and whoever clears the alarm has to log in.
    let keys = !matches!(command, UserCommand::Auth(_) | UserCommand::Login(_));
    if keys && active(AlarmKind::Corrupt) {
        return Some(UserError::Corrupt);
    }
    (active(AlarmKind::NoSpace) && quota::cost(command) > 0).then_some(UserError::NoSpace)
}
