use chainfire_core::{
    Origin, UserCommand,
    alarm::{self, Alarm, AlarmKind},
    cluster::{ClusterAnswer, ClusterCommand},
    quota, table,
};

use super::{Store, Ungoverned};
use crate::{Error, request::request_id};

/// What the user keyspace takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// What the quota counts; see [`quota`].
    pub(crate) used: u64,
    /// What it takes on disk and in memory, never told as less than `used`: monitors compare it with the quota.
    pub(crate) total: u64,
}

impl Store {
    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let used = quota::size(self.group.state())?;
        let stored = self.group.state().table_bytes(table::USER)?;
        Ok(Usage { used, total: stored.max(used) })
    }

    /// All active alarms, as this server has applied them.
    pub(crate) fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        Ok(alarm::alarms(self.group.state())?)
    }

    /// Refuses to read where nobody can tell which member is right.
    pub(crate) fn check_sound(&self) -> Result<(), Error> {
        let corrupt = self.machine().alarms().borrow().iter().any(|alarm| alarm.kind == AlarmKind::Corrupt);
        if corrupt { Err(Error::Corrupt) } else { Ok(()) }
    }

    /// Refuses what this member has no room for. Before anybody hears of it, all members know.
    pub(super) async fn check_space(&self, command: &UserCommand) -> Result<(), Error> {
        let Some(quota) = self.limits().quota_bytes else { return Ok(()) };
        let cost = quota::cost(command);
        if cost == 0 || quota::size(self.group.state())?.saturating_add(cost) < quota {
            return Ok(());
        }
        let alarm = Alarm { member: self.own.0, kind: AlarmKind::NoSpace };
        if !self.machine().alarms().borrow().contains(&alarm) {
            tracing::warn!(quota, "the quota of the user keyspace is reached: writes are refused until there is room");
            let origin = Origin::system("quota", request_id());
            if let Err(error) = self.raise(origin, alarm).await {
                tracing::warn!(%error, "the alarm for the reached quota is not raised");
            }
        }
        Err(Error::NoSpace)
    }

    /// Raises an alarm on all members; returns it.
    pub(crate) async fn raise(&self, origin: Origin, alarm: Alarm) -> Result<Option<Alarm>, Error> {
        self.set_alarm(origin, ClusterCommand::AlarmRaise(alarm)).await
    }

    /// Clears an alarm on all members; returns it if it was active.
    pub(crate) async fn clear(&self, origin: Origin, alarm: Alarm) -> Result<Option<Alarm>, Error> {
        self.set_alarm(origin, ClusterCommand::AlarmClear(alarm)).await
    }

    async fn set_alarm(&self, origin: Origin, command: ClusterCommand) -> Result<Option<Alarm>, Error> {
        match self.govern(origin, command).await {
            Ok(ClusterAnswer::Alarm(alarm)) => Ok(alarm),
            Ok(_) => Err(Error::mismatch()),
            Err(Ungoverned::Failed(error)) => Err(error),
            Err(Ungoverned::Refused(refused)) => Err(Error::Unreadable(refused.to_string())),
        }
    }
}
