use chainfire_core::{Answer, ClusterError, Failure, Halt, SystemError, cluster::ClusterAnswer, system::SystemAnswer};

/// Why the store did not answer. A command that may have been proposed is `Unknown`, never `Unavailable`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was proposed: no leader, no quorum, or this server is stopping.
    #[error("the control plane has no quorum: {0}")]
    Unavailable(String),
    /// The command may or may not take effect.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Nothing has changed.
    #[error("refused: {0}")]
    Refused(Refused),
    /// The local state could not be read.
    #[error("storage: {0}")]
    Storage(String),
}

/// Why the store refused a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no room now: the audit journal or the keyspace's quota. It passes when others make room.
    #[error("{0}")]
    Full(String),
    #[error("the command has {size} bytes, {limit} are allowed")]
    TooLarge { size: usize, limit: usize },
    /// The command is wrong in itself or does not fit this cluster; repeating it is in vain.
    #[error("{0}")]
    Invalid(String),
    #[error("this needs feature level {needed}; the cluster is at {level}: upgrade all servers first")]
    Level { needed: u32, level: u32 },
}

impl StoreError {
    /// What the replicated answer to a system command says to the service that asked.
    pub fn system_answer(answer: Answer) -> Result<SystemAnswer, Self> {
        match answer {
            Answer::System(outcome) => outcome.map_err(|refused| Self::Refused(refused.into())),
            other => Err(Self::foreign(&other)),
        }
    }

    /// The same for a command about the cluster itself.
    pub fn cluster_answer(answer: Answer) -> Result<ClusterAnswer, Self> {
        match answer {
            Answer::Cluster(outcome) => outcome.map_err(|refused| Self::Refused(refused.into())),
            other => Err(Self::foreign(&other)),
        }
    }

    /// An answer that is not of the command's own kind.
    fn foreign(answer: &Answer) -> Self {
        match answer {
            Answer::BeforeGenesis => Self::Unavailable("the cluster has not begun yet".into()),
            Answer::LevelTooLow { needed, level } => Self::Refused(Refused::Level { needed: *needed, level: *level }),
            // Something was committed, and nobody can tell what became of it.
            Answer::User(_) | Answer::System(_) | Answer::Cluster(_) => {
                Self::Unknown("the answer belongs to another command".into())
            }
        }
    }
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<SystemError> for Refused {
    fn from(error: SystemError) -> Self {
        match error {
            SystemError::JournalFull | SystemError::QuotaExceeded => Self::Full(error.to_string()),
            SystemError::InvalidName => Self::Invalid(error.to_string()),
        }
    }
}

impl From<ClusterError> for Refused {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::JournalFull => Self::Full(error.to_string()),
            ClusterError::GenesisExists { .. }
            | ClusterError::WrongParent { .. }
            | ClusterError::UnknownLineage(_)
            | ClusterError::LevelTooLow { .. } => Self::Invalid(error.to_string()),
        }
    }
}

impl From<Halt> for StoreError {
    fn from(halt: Halt) -> Self {
        Self::Storage(halt.to_string())
    }
}

impl From<Failure<ClusterError>> for StoreError {
    fn from(failure: Failure<ClusterError>) -> Self {
        match failure {
            Failure::Refused(refused) => Self::Refused(refused.into()),
            Failure::Halt(halt) => halt.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_command_leaves_the_outcome_open() {
        let of_cluster = || Answer::Cluster(Err(ClusterError::JournalFull));
        assert!(matches!(StoreError::system_answer(of_cluster()), Err(StoreError::Unknown(_))));
        let of_system = || Answer::System(Err(SystemError::InvalidName));
        assert!(matches!(StoreError::cluster_answer(of_system()), Err(StoreError::Unknown(_))));
        assert!(matches!(StoreError::system_answer(Answer::BeforeGenesis), Err(StoreError::Unavailable(_))));
    }

    #[test]
    fn refusals_say_whether_waiting_helps() {
        let refused = |answer| match StoreError::system_answer(answer) {
            Err(StoreError::Refused(refused)) => refused,
            other => panic!("{other:?}"),
        };
        assert!(matches!(refused(Answer::System(Err(SystemError::QuotaExceeded))), Refused::Full(_)));
        assert!(matches!(refused(Answer::System(Err(SystemError::JournalFull))), Refused::Full(_)));
        assert!(matches!(refused(Answer::System(Err(SystemError::InvalidName))), Refused::Invalid(_)));
        let level = Answer::LevelTooLow { needed: 2, level: 1 };
        assert_eq!(refused(level), Refused::Level { needed: 2, level: 1 });
    }
}
