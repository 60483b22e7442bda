use chainfire_core::{
    AuthenticatedBy, Origin,
    system::{LockAcquire, LockAnswer, LockGroup, LockHolder, LockPolicy, LockRelease, SystemAnswer, SystemCommand},
};

use super::{refusal::Refusal, request::Claim};
use crate::{ConfigService, Error};

/// What became of a request for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub holder: LockHolder,
    /// False for a holder that asked again.
    pub new: bool,
}

impl ConfigService {
    /// Takes a slot, or finds the one that the id holds already.
    pub(super) async fn lock(&self, origin: Origin, claim: &Claim) -> Result<Granted, Refusal> {
        self.check_listed(&claim.group)?;
        let command = SystemCommand::LockAcquire(LockAcquire {
            group: claim.group.clone(),
            id: claim.id.clone(),
            default_slots: self.settings().fleetlock.slots(&claim.group),
        });
        match self.lock_command(origin, command).await? {
            LockAnswer::Granted { holder, new } => Ok(Granted { holder, new }),
            LockAnswer::Refused(refusal) => Err(Refusal::of(&claim.group, refusal)),
            LockAnswer::Released { .. } | LockAnswer::PolicySet { .. } => Err(odd_answer().into()),
        }
    }

    /// Gives a slot back if `claim` holds one; whether it did. A machine that holds nothing says this at every boot,
    /// so that case is a read without a trace in the log.
    pub(super) async fn unlock(&self, origin: Origin, claim: &Claim) -> Result<bool, Refusal> {
        self.records().barrier().await?;
        let held = self.group(&claim.group)?.is_some_and(|group| group.holders.iter().any(|h| h.id == claim.id));
        if !held {
            return Ok(false);
        }
        Ok(self.release(origin, &claim.group, &claim.id, None).await?)
    }

    /// Takes a slot away from `id`; whether it held one.
    pub(super) async fn release(
        &self,
        origin: Origin,
        group: &str,
        id: &str,
        reason: Option<String>,
    ) -> Result<bool, Error> {
        let command = SystemCommand::LockRelease(LockRelease { group: group.to_owned(), id: id.to_owned(), reason });
        match self.lock_command(origin, command).await? {
            LockAnswer::Released { held } => Ok(held),
            LockAnswer::Granted { .. } | LockAnswer::Refused(_) | LockAnswer::PolicySet { .. } => Err(odd_answer()),
        }
    }

    /// Replaces a group's policy; the revision of the change.
    pub(super) async fn set_policy(&self, origin: Origin, policy: LockPolicy) -> Result<u64, Error> {
        match self.lock_command(origin, SystemCommand::LockPolicy(policy)).await? {
            LockAnswer::PolicySet { revision } => Ok(revision),
            LockAnswer::Granted { .. } | LockAnswer::Refused(_) | LockAnswer::Released { .. } => Err(odd_answer()),
        }
    }

    pub(super) fn group(&self, group: &str) -> Result<Option<LockGroup>, Error> {
        Ok(self.records().store().lock_group(group)?)
    }

    pub(super) fn groups(&self, after: Option<&str>, limit: usize) -> Result<Vec<LockGroup>, Error> {
        Ok(self.records().store().lock_groups(after, limit)?)
    }

    /// Where only listed groups may lock, others are refused; a stored policy lists a group too.
    fn check_listed(&self, group: &str) -> Result<(), Refusal> {
        let settings = &self.settings().fleetlock;
        if !settings.listed_only || settings.groups.contains_key(group) {
            return Ok(());
        }
        match self.group(group)? {
            Some(LockGroup { slots: Some(_), .. }) => Ok(()),
            _ => Err(Refusal::UnknownGroup(format!("group {group} is not configured here"))),
        }
    }

    async fn lock_command(&self, origin: Origin, command: SystemCommand) -> Result<LockAnswer, Error> {
        match self.records().store().submit(origin, command).await? {
            SystemAnswer::Lock(answer) => Ok(answer),
            SystemAnswer::Txn(_) => Err(odd_answer()),
        }
    }
}

/// The asker of an open door, for the audit journal.
pub(super) fn anonymous(source: Option<String>) -> Origin {
    Origin {
        principal: "anonymous".to_owned(),
        authenticated_by: AuthenticatedBy::Nothing,
        source,
        token_id: None,
        request_id: String::new(),
    }
}

fn odd_answer() -> Error {
    Error::Internal("the answer does not belong to the lock command".into())
}
