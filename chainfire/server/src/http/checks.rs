use chainfire_core::alarm::{Alarm, AlarmKind};

use crate::{Error, store::Store, wire};

/// One thing that must be well with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// The local state answers.
    SerializableRead,
    /// A quorum answers, and this member has caught up with it.
    LinearizableRead,
    /// No member's data differ.
    DataCorruption,
    /// This member votes. One that comes back with a new disk does not yet.
    NonLearner,
}

impl Check {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::DataCorruption => "data_corruption",
            Self::NonLearner => "non_learner",
        }
    }

    /// What is wrong, in words for an operator.
    pub(super) async fn run(self, store: &Store) -> Result<(), String> {
        match self {
            Self::SerializableRead => readable(store),
            Self::LinearizableRead => {
                store.barrier().await.map_err(|error| range_error(&error.into()))?;
                readable(store)
            }
            Self::DataCorruption => {
                let alarms = store.alarms().map_err(|error| error.to_string())?;
                let corrupt = alarms.iter().any(|alarm| alarm.kind == AlarmKind::Corrupt);
                if corrupt { Err(format!("alarm activated: {}", wire::alarm_name(AlarmKind::Corrupt))) } else { Ok(()) }
            }
            Self::NonLearner if store.group().is_learner() => Err("this member has no vote yet".to_owned()),
            Self::NonLearner => Ok(()),
        }
    }
}

/// The reason that an alarm gives monitors.
pub(super) fn alarm_reason(alarm: &Alarm) -> String {
    format!("ALARM {}", wire::alarm_name(alarm.kind))
}

pub(super) fn range_error(error: &Error) -> String {
    format!("RANGE ERROR:{error}")
}

fn readable(store: &Store) -> Result<(), String> {
    store.revision().map(|_| ()).map_err(|error| range_error(&error))
}
