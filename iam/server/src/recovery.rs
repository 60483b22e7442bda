//! After a restore: nothing that had been revoked counts again before somebody has said that it may.

use chainfire_core::{Origin, system::Expect};
use iam_client::{Caller, Evidence, Identity, Refusal};
use iam_core::{
    Kind, PrincipalId,
    credential::CredentialSet,
    enrol::JoinTokenRecord,
    record::{Bootstrap, Principal, key},
    restored::{Approval, Restored},
    signing::KeyRing,
    trust::{Denied, serial},
};

use crate::{
    Error, Iam,
    authority::AUTHENTICATE,
    iam::Inner,
    recorder::Call,
    records::{Change, Listing, Versioned},
};

/// What a restore waits for, for those who are made to wait.
pub(crate) const WAITS: &str = "a restore waits for its approval (florctl iam restore approve)";
/// Whoever may speak for the plane meanwhile asks for this.
pub(crate) const RESTORE: (&str, &str) = ("iam.Admin", "iam/restore");
/// The same for who asks how the plane is.
const STATUS: &str = "cluster.Read";
/// What a node may go on doing with its certificate: to itself only, as ever.
const NODES: [&str; 2] = ["config.ReadArtifact", "config.ReportStatus"];
/// Standings, and denied certificates, of one merge.
const MAX_MERGE: usize = 100;
/// Join tokens that one change ends.
const SWEEP: usize = 500;

/// Whether a principal may act, and its live access keys.
pub(crate) struct Standing {
    pub(crate) principal: PrincipalId,
    pub(crate) disabled: bool,
    pub(crate) access_keys: Vec<String>,
}

/// What had ended when it was exported.
pub(crate) struct Ended {
    pub(crate) standings: Vec<Standing>,
    pub(crate) exported_ms: u64,
    pub(crate) denied_serials: Vec<String>,
}

/// What a merge has changed.
#[derive(Default)]
pub(crate) struct Merged {
    pub(crate) revision: u64,
    pub(crate) disabled: u32,
    pub(crate) revoked: u32,
    pub(crate) denied: u32,
}

impl Inner {
    /// Whether the state's lineage is the one that its identities belong to; if a restore has begun another one, the
    /// first server that finds out voids all tokens and lets the rest wait.
    pub(crate) async fn notice_restore(&self) -> Result<bool, Error> {
        let Some(lineage) = self.records.store().lineage()? else { return Ok(true) };
        let id = lineage.id.to_string();
        let known = self.restored.get(&self.records)?;
        let same = known.as_ref().map_or(lineage.parent.is_none(), |known| known.value.lineage == id);
        if same {
            return Ok(true);
        }
        let (ring, now_ms) = (self.key_ring()?, self.now_ms());
        // Whoever has a key that signed before the restore must not guess it, and a backup may be restored twice. JSON
        // has numbers of 53 bits.
        let epoch = u64::from_be_bytes(self.random()?) >> 11;
        let origin = Origin::system("iam", format!("restore-{id}"));
        let restored = Restored { lineage: id, noticed_ms: now_ms, approved: None };
        let change = Change::new("iam.RestoreNotice", RESTORE.1)
            .expect(key::RESTORED.to_vec(), known.map_or(Expect::Absent, |known| Expect::Revision(known.revision)))
            .put(key::RESTORED.to_vec(), &restored)?
            .replace(key::RING.to_vec(), ring.revision, &KeyRing { epoch, ..ring.value.clone() })?;
        match self.records.commit(origin, change).await {
            Ok(_) => {
                tracing::warn!("this state was restored from a backup: its identities wait for approval");
                Ok(true)
            }
            // Somebody else was first.
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a restore waits for its approval.
    pub(crate) fn is_suspended(&self) -> Result<bool, Error> {
        Ok(self.restored.get(&self.records)?.is_some_and(|restored| restored.value.approved.is_none()))
    }

    pub(crate) fn check_approved(&self) -> Result<(), Refusal> {
        if self.is_suspended()? { Err(Refusal::Unavailable(WAITS.to_owned())) } else { Ok(()) }
    }

    /// The same for an action that may be one of the few that do not wait.
    pub(crate) fn check_may_go_on(&self, by: &Identity, action: &str, resource: &str) -> Result<(), Refusal> {
        if !self.is_suspended()? {
            return Ok(());
        }
        let goes_on = match &by.principal {
            // Operators who are offline vouch for it, not what came back.
            Caller::BreakGlass(_) => true,
            Caller::Principal(id) if id.kind() == Kind::Node => NODES.contains(&action),
            Caller::Bootstrap | Caller::Principal(_) | Caller::Anonymous => {
                self.speaks_for_restore(by)? && ((action, resource) == RESTORE || action == STATUS)
            }
        };
        if goes_on {
            return Ok(());
        }
        self.record_denial(&Call::of(by), action, resource, WAITS);
        Err(Refusal::Unavailable(WAITS.to_owned()))
    }

    /// Whether it is known by what cannot have come back with the backup; where nothing else is left, by an access key,
    /// which at least its owner alone has. Certificates count only for what a machine itself needs: whoever was put out
    /// after the backup still has his.
    fn speaks_for_restore(&self, by: &Identity) -> Result<bool, Error> {
        Ok(match by.principal {
            Caller::Bootstrap => true,
            Caller::Principal(_) => matches!(by.evidence, Evidence::AccessKey(_)) && !self.bootstrap_enabled()?,
            Caller::BreakGlass(_) | Caller::Anonymous => false,
        })
    }

    /// Access keys wait, too, where the bootstrap token can approve; else an admin does, who has nothing but these.
    pub(crate) fn check_access_keys(&self, call: &Call) -> Result<(), Refusal> {
        if self.is_suspended()? && self.bootstrap_enabled()? {
            self.record_denial(call, AUTHENTICATE, "iam/secrets", WAITS);
            return Err(Refusal::Unavailable(WAITS.to_owned()));
        }
        Ok(())
    }
}

impl Iam {
    pub(crate) fn last_restore(&self) -> Result<Option<Restored>, Error> {
        Ok(self.0.restored.get(&self.0.records)?.map(|restored| restored.value.clone()))
    }

    /// The standings that say more than that a principal exists.
    pub(crate) fn standings_of_principals(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listing<Standing>, Error> {
        let page = self.0.records.list::<Principal>(key::PRINCIPALS.as_bytes(), after, limit)?;
        let mut values = Vec::new();
        for Principal { id, disabled, .. } in page.values {
            let set = self.0.records.get::<CredentialSet>(&key::credentials(&id))?;
            if disabled || set.is_some() {
                let live = set.iter().flat_map(|set| set.value.live());
                let access_keys = live.map(|credential| credential.id.as_str().to_owned()).collect();
                values.push(Standing { principal: id, disabled, access_keys });
            }
        }
        Ok(Listing { values, next: page.next })
    }

    /// Ends what had ended later than the backup, also after the approval. It takes nothing back that has ended in the
    /// backup.
    pub(crate) async fn merge_ended(&self, by: &Identity, ended: Ended) -> Result<Merged, Error> {
        if self.last_restore()?.is_none() {
            return Err(Error::Precondition("this state was never restored".to_owned()));
        }
        if ended.standings.len().max(ended.denied_serials.len()) > MAX_MERGE {
            return Err(Error::Invalid(format!("at most {MAX_MERGE} at once")));
        }
        let (now_ms, mut merged) = (self.0.now_ms(), Merged::default());
        let mut change = Change::new("iam.RestoreMerge", RESTORE.1);
        for standing in &ended.standings {
            change = self.disable_again(change, standing, &mut merged)?;
            change = self.revoke_again(change, standing, ended.exported_ms, now_ms, &mut merged)?;
        }
        for text in &ended.denied_serials {
            let serial = serial(text).ok_or_else(|| Error::Invalid(format!("{text:?} is no serial number")))?;
            let at = key::denied(&serial);
            if !self.0.records.exists(&at)? {
                let reason = "denied before a restore".to_owned();
                let denied = Denied { serial, reason, denied_ms: now_ms, denied_by: by.principal.to_string() };
                change = change.create(at, &denied)?;
                merged.denied += 1;
            }
        }
        merged.revision = self.0.records.commit(by.origin(), change).await?;
        Ok(merged)
    }

    fn disable_again(&self, change: Change, standing: &Standing, merged: &mut Merged) -> Result<Change, Error> {
        let at = key::principal(&standing.principal);
        match self.0.records.get::<Principal>(&at)? {
            Some(Versioned { value, revision }) if standing.disabled && !value.disabled => {
                merged.disabled += 1;
                change.replace(at, revision, &Principal { disabled: true, ..value })
            }
            _ => Ok(change),
        }
    }

    fn revoke_again(
        &self,
        mut change: Change,
        standing: &Standing,
        exported_ms: u64,
        now_ms: u64,
        merged: &mut Merged,
    ) -> Result<Change, Error> {
        let at = key::credentials(&standing.principal);
        let Some(set) = self.0.records.get::<CredentialSet>(&at)? else { return Ok(change) };
        let mut next = set.value.clone();
        let ended = set.value.live().filter(|credential| {
            credential.created_ms <= exported_ms && !standing.access_keys.iter().any(|id| id == credential.id.as_str())
        });
        for credential in ended {
            next = next.revoke(&credential.id, true, now_ms)?;
            change = change
                .delete(key::access_key(&credential.id))
                .delete(key::sealed("credential", credential.id.as_str()));
            merged.revoked += 1;
        }
        if next == set.value { Ok(change) } else { change.replace(at, set.revision, &next) }
    }

    /// Lets everything go on that waits; join tokens are made anew by who still needs them.
    pub(crate) async fn approve_restore(&self, by: &Identity, disable_bootstrap: bool) -> Result<(u64, u32), Error> {
        let disable_bootstrap = disable_bootstrap && self.0.bootstrap_enabled()?;
        if disable_bootstrap && !self.has_admin_with_access_key()? {
            return Err(Error::Precondition(
                "the bootstrap token was disabled, and in this state no admin has an access key: approve with it, make \
                 an admin, and disable it again"
                    .to_owned(),
            ));
        }
        let mut ended = 0;
        loop {
            let restored = self.waiting()?;
            let tokens = self.0.records.page::<JoinTokenRecord>(key::JOIN_TOKENS.as_bytes(), None, SWEEP)?;
            let mut change = Change::new("iam.RestoreApprove", RESTORE.1);
            for (at, _) in &tokens.values {
                change = change.delete(at.clone());
                ended += 1;
            }
            if tokens.next.is_none() {
                let (at_ms, by_whom) = (self.0.now_ms(), by.principal.to_string());
                if disable_bootstrap {
                    let reason = "disabled before a restore".to_owned();
                    let (changed_ms, changed_by) = (at_ms, by_whom.clone());
                    let bootstrap = Bootstrap { enabled: false, changed_ms, changed_by, reason };
                    change = change.put(key::BOOTSTRAP.to_vec(), &bootstrap)?;
                }
                let approved = Restored { approved: Some(Approval { at_ms, by: by_whom }), ..restored.value };
                let change = change.replace(key::RESTORED.to_vec(), restored.revision, &approved)?;
                return Ok((self.0.records.commit(by.origin(), change).await?, ended));
            }
            self.0.records.commit(by.origin(), change).await?;
        }
    }

    /// The restore that waits for its approval.
    fn waiting(&self) -> Result<Versioned<Restored>, Error> {
        let restored = self.0.restored.get(&self.0.records)?;
        let waiting = restored.filter(|restored| restored.value.approved.is_none());
        let waiting = waiting.ok_or_else(|| Error::Precondition("no restore waits for approval".to_owned()))?;
        Ok(Versioned { value: waiting.value.clone(), revision: waiting.revision })
    }
}
