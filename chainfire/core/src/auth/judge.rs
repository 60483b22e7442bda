use holdfast_keyspace::{KeyRanges, Read};

use super::{Demand, KeyAccess, User, store};
use crate::{
    Failure, Halt, UserError,
    kv::Keys,
    lease::{self, LeaseId},
    origin::{Claim, Origin},
};

/// Decides what the sender of one request may do, by one state.
#[derive(Debug)]
pub struct Judge(Standing);

/// How the sender stands with that state.
#[derive(Debug)]
enum Standing {
    /// Users do not count, or the sender is not one of them: others have decided.
    Free,
    Nobody,
    User(Rights),
}

#[derive(Debug, Default)]
struct Rights {
    /// Users or roles have changed since the sender was told apart.
    stale: bool,
    root: bool,
    read: KeyRanges,
    write: KeyRanges,
}

impl Judge {
    pub fn new(read: &dyn Read, origin: &Origin) -> Result<Self, Halt> {
        let claim = origin.claim();
        if claim == Claim::Elsewhere {
            return Ok(Self(Standing::Free));
        }
        let status = store::status(read)?;
        if !status.enabled {
            return Ok(Self(Standing::Free));
        }
        let Claim::User { name, revision } = claim else { return Ok(Self(Standing::Nobody)) };
        let rights = match store::user(read, name)? {
            Some(user) => Rights::of(read, &user)?,
            None => Rights::default(),
        };
        Ok(Self(Standing::User(Rights { stale: revision < status.revision, ..rights })))
    }

    /// Whether the sender may have what `demand` says. `read` is the state that the judge was made of.
    pub fn allows(&self, read: &dyn Read, demand: Demand<'_>) -> Result<(), Failure> {
        match demand {
            Demand::Keys(access, keys) => Ok(self.keys(access, keys)?),
            Demand::Lease(access, id) => self.lease(read, access, id),
        }
    }

    /// Whether the sender is known at all, which is enough for what touches no key.
    pub fn known(&self) -> Result<(), UserError> {
        match &self.0 {
            Standing::Free | Standing::User(_) => Ok(()),
            Standing::Nobody => Err(UserError::UserEmpty),
        }
    }

    /// Whether the sender may administrate. Nobody's rights need to be the newest for that: the state has them.
    pub fn admin(&self) -> Result<(), UserError> {
        match &self.0 {
            Standing::User(rights) if !rights.root => Err(UserError::PermissionDenied),
            Standing::Free | Standing::Nobody | Standing::User(_) => self.known(),
        }
    }

    fn keys(&self, access: KeyAccess, keys: &Keys) -> Result<(), UserError> {
        let rights = match &self.0 {
            Standing::Free => return Ok(()),
            Standing::Nobody => return Err(UserError::UserEmpty),
            Standing::User(rights) => rights,
        };
        if rights.stale {
            return Err(UserError::AuthOldRevision);
        }
        let may = match access {
            KeyAccess::Read => &rights.read,
            KeyAccess::Write => &rights.write,
        };
        if rights.root || may.covers(&keys.range()) { Ok(()) } else { Err(UserError::PermissionDenied) }
    }

    fn lease(&self, read: &dyn Read, access: KeyAccess, id: LeaseId) -> Result<(), Failure> {
        self.known()?;
        // Somebody who may touch every key needs no look at them.
        if self.admin().is_ok() {
            return Ok(());
        }
        for key in lease::keys(read, id)? {
            self.keys(access, &Keys::One(key))?;
        }
        Ok(())
    }
}

impl Rights {
    /// What the user's roles allow together: neighbouring ranges of different roles count as one.
    fn of(read: &dyn Read, user: &User) -> Result<Self, Halt> {
        if user.is_root() {
            return Ok(Self { root: true, ..Self::default() });
        }
        let mut permissions = Vec::new();
        for name in &user.roles {
            permissions.extend(store::role(read, name)?.into_iter().flat_map(|role| role.permissions));
        }
        let allowed = |access| {
            let allowing = permissions.iter().filter(|permission| permission.kind.allows(access));
            KeyRanges::new(allowing.map(super::Permission::range))
        };
        Ok(Self { read: allowed(KeyAccess::Read), write: allowed(KeyAccess::Write), ..Self::default() })
    }
}
