use chainfire_core::{
    Origin,
    system::{
        LockAcquire, LockAnswer, LockAsker, LockGroup, LockHolder, LockPolicy, LockRefusal, LockRelease, SystemAnswer,
        SystemCommand,
    },
};
use parking_lot::Mutex;

use super::{client::Client, refusal::Refusal, request::Claim, seen::News};
use crate::{ConfigService, Error, service::now_ms};

/// What became of a request for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub holder: LockHolder,
    /// False for a holder that asked again.
    pub new: bool,
}

/// The last time that the store had no room for groups that nobody listed. As long as nothing changes there, asking it
/// again would only fill its log.
#[derive(Debug, Default)]
pub(crate) struct NoRoom(Mutex<Option<(u64, LockRefusal)>>);

impl ConfigService {
    /// Takes a slot, or finds the one that the id holds already.
    pub(super) async fn lock(&self, client: &Client, claim: &Claim) -> Result<Granted, Refusal> {
        self.records().barrier().await?;
        let mut asker = client.asker();
        let mut answer = self.answer(client, claim, asker).await?;
        if let LockAnswer::Refused(LockRefusal::Foreign { .. } | LockRefusal::HoldsAnother { .. }) = &answer
            && let Some(admin) = self.lock_admin(client, claim)
        {
            asker = admin;
            answer = self.answer(client, claim, asker).await?;
        }
        let now = now_ms();
        match answer {
            LockAnswer::Granted { holder, new } => {
                self.lock_seen().held(&claim.group, &claim.id, now);
                Ok(Granted { holder, new })
            }
            LockAnswer::Refused(refusal) => {
                let refusal = Refusal::of(claim, refusal);
                self.record_refusal(client, claim, &refusal, now);
                Err(refusal)
            }
            LockAnswer::Released { .. } | LockAnswer::PolicySet { .. } => Err(odd_answer().into()),
        }
    }

    /// What the store says to a request for a slot. Repeats and refusals are read, so that clients which ask in a loop
    /// write nothing; the state machine decides whether a slot that looks free is.
    async fn answer(&self, client: &Client, claim: &Claim, asker: LockAsker) -> Result<LockAnswer, Refusal> {
        let settings = &self.settings().fleetlock;
        let acquire = LockAcquire {
            group: claim.group.clone(),
            id: claim.id.clone(),
            asker,
            default_slots: settings.slots(&claim.group),
            listed: settings.lists(&claim.group),
        };
        let known = self.group(&claim.group)?;
        let answer = known.clone().unwrap_or_default().answer(&acquire);
        if let Some(holds @ LockAnswer::Granted { .. }) = answer {
            return Ok(holds);
        }
        // A stored policy lists a group, too.
        let listed = acquire.listed || known.as_ref().is_some_and(|group| group.slots.is_some());
        if settings.listed_only && !listed {
            return Err(Refusal::UnknownGroup(format!("group {} is not configured here", claim.group)));
        }
        let revision = self.records().store().applied().system_revision;
        let no_room = || if listed { None } else { self.no_room().at(revision, known.is_some()) };
        if let Some(answer) = answer.or_else(|| no_room().map(LockAnswer::Refused)) {
            return Ok(answer);
        }
        let answer = self.lock_command(client.origin(), SystemCommand::LockAcquire(acquire)).await?;
        if let LockAnswer::Refused(refusal) = &answer {
            self.no_room().note(revision, refusal);
        }
        Ok(answer)
    }

    /// Gives a slot back if `claim` holds one; whether it did. A machine that holds nothing says this at every boot,
    /// so that case is a read without a trace in the log.
    pub(super) async fn unlock(&self, client: &Client, claim: &Claim) -> Result<bool, Refusal> {
        self.records().barrier().await?;
        let group = self.group(&claim.group)?.unwrap_or_default();
        let Some(holder) = group.holders.iter().find(|holder| holder.id == claim.id) else { return Ok(false) };
        let mut asker = client.asker();
        if !asker.may_use(holder) {
            // This client holds nothing under the id, which is a success. If it were refused, whoever took an id that
            // is not its own would keep that machine from its updates.
            let Some(admin) = self.lock_admin(client, claim) else { return Ok(false) };
            asker = admin;
        }
        let held = self.release(client.origin(), asker, claim, None).await?;
        self.lock_seen().forget(&claim.group, &claim.id);
        Ok(held)
    }

    /// Takes a slot away from an id; whether it held one that `asker` may release.
    pub(super) async fn release(
        &self,
        origin: Origin,
        asker: LockAsker,
        claim: &Claim,
        reason: Option<String>,
    ) -> Result<bool, Error> {
        let release = LockRelease { group: claim.group.clone(), id: claim.id.clone(), asker, reason };
        match self.lock_command(origin, SystemCommand::LockRelease(release)).await? {
            LockAnswer::Released { held } => Ok(held),
            // It changed hands after it was read.
            LockAnswer::Refused(LockRefusal::Foreign { .. }) => Ok(false),
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

    /// The client as one who may use everybody's slots; none if it may not, which is a recorded denial.
    fn lock_admin(&self, client: &Client, claim: &Claim) -> Option<LockAsker> {
        let identity = client.identity()?;
        self.authorize(identity, "lock.Admin", &format!("lock/{}", claim.group)).ok()?;
        Some(LockAsker::Admin(identity.principal.to_string()))
    }

    fn record_refusal(&self, client: &Client, claim: &Claim, refusal: &Refusal, now_ms: u64) {
        let resource = match self.lock_seen().refused(&claim.group, &claim.id, refusal.kind(), now_ms) {
            News::Old => return,
            News::Id => format!("lock/{}/{}", claim.group, claim.id),
            News::Crowd => "lock/*".to_owned(),
        };
        self.record_denial(&client.origin(), "lock.Acquire", &resource, refusal.kind());
    }

    async fn lock_command(&self, origin: Origin, command: SystemCommand) -> Result<LockAnswer, Error> {
        match self.records().store().submit(origin, command).await? {
            SystemAnswer::Lock(answer) => Ok(answer),
            SystemAnswer::Txn(_) => Err(odd_answer()),
        }
    }
}

impl NoRoom {
    /// What the store said, if it said it at `revision` and would say it again.
    fn at(&self, revision: u64, group_exists: bool) -> Option<LockRefusal> {
        let last = self.0.lock();
        let (_, refusal) = last.as_ref().filter(|(at, _)| *at == revision)?;
        let applies = matches!(refusal, LockRefusal::UnlistedFull { .. }) || !group_exists;
        applies.then(|| refusal.clone())
    }

    fn note(&self, revision: u64, refusal: &LockRefusal) {
        if let LockRefusal::TooManyGroups { .. } | LockRefusal::UnlistedFull { .. } = refusal {
            *self.0.lock() = Some((revision, refusal.clone()));
        }
    }
}

fn odd_answer() -> Error {
    Error::Internal("the answer does not belong to the lock command".into())
}
