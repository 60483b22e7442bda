//! The master keys in the system keyspace, and what is sealed with them.

use std::sync::Arc;

use chainfire_core::system::Expect;
use iam_core::{
    credential::AccessKeyId,
    master::{Master, Masters, Resealing},
    record::{AccessKey, key},
    rotation::Item,
    seal::{Label, MasterKey, Sealed},
};
use zeroize::Zeroizing;

use crate::{
    Error,
    genesis::PLANE,
    iam::Inner,
    records::{Change, Versioned},
};

/// Secrets that one change seals anew.
const BATCH: usize = 64;
const PAGE: usize = 1000;

/// The master keys as they are known now, and what a change demands that counts only while they stay so.
pub(crate) struct Known {
    pub(crate) masters: Arc<Versioned<Masters>>,
    expect: Expect,
}

impl Known {
    /// The change, which counts only while the master keys are as they are now.
    pub(crate) fn guard(&self, change: Change) -> Change {
        change.expect(key::MASTERS.to_vec(), self.expect)
    }

    pub(crate) fn active(&self) -> Result<&Item<Master>, Error> {
        self.masters.value.keys.active().ok_or_else(|| Error::Corrupt("no master key is active".to_owned()))
    }
}

impl Inner {
    /// The master keys, if this server holds one that tells it which they are. Their revision is 0 before the first
    /// rotation.
    pub(crate) fn known_masters(&self) -> Result<Option<Known>, Error> {
        if let Some(masters) = self.masters.get(&self.records)? {
            let expect = Expect::Revision(masters.revision);
            return Ok(Some(Known { masters, expect }));
        }
        let genesis = self.genesis.get(&self.records)?;
        let genesis = genesis.ok_or_else(|| Error::Corrupt("there is no genesis".to_owned()))?;
        let first = Masters::of_genesis(&genesis.value, &self.master_keys);
        Ok(first.map(|value| Known { masters: Arc::new(Versioned { value, revision: 0 }), expect: Expect::Absent }))
    }

    pub(crate) fn masters(&self) -> Result<Known, Error> {
        let known = self.known_masters()?;
        known.ok_or_else(|| Error::Corrupt("the genesis was made with another master key".to_owned()))
    }

    /// The revision of the master keys.
    pub(crate) fn masters_version(&self) -> Result<u64, Error> {
        Ok(self.masters.get(&self.records)?.map_or(0, |masters| masters.revision))
    }

    /// Adds a sealed secret that is not there yet. The change counts only while the key that seals it is the active one.
    pub(crate) fn seal(&self, change: Change, label: Label<'_>, secret: &[u8]) -> Result<Change, Error> {
        let known = self.masters()?;
        let sealed = self.sealing(&known)?.seal(label, secret, self.random()?)?;
        known.guard(change).create(key::sealed(label.kind, label.key), &sealed)
    }

    /// The secret under `label`.
    pub(crate) fn unseal(&self, label: Label<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
        let sealed = self.records.get::<Sealed>(&key::sealed(label.kind, label.key))?;
        let missing = || Error::Corrupt(format!("{} {} has no sealed half", label.kind, label.key));
        Ok(self.master_keys.open(label, &sealed.ok_or_else(missing)?.value)?)
    }

    fn sealing(&self, known: &Known) -> Result<&MasterKey, Error> {
        let id = &known.active()?.id;
        let held = self.master_keys.get(id);
        held.ok_or_else(|| {
            Error::Precondition(format!("this server does not hold the master key {id}, which is active"))
        })
    }

    /// How far the secrets are on their way to the active key, if somebody has begun since the keys last changed.
    pub(crate) fn resealing(&self) -> Result<Option<Resealing>, Error> {
        let since = self.masters_version()?;
        let found = self.records.get::<Resealing>(key::RESEALING)?;
        Ok(found.map(|found| found.value).filter(|pass| pass.since == since))
    }

    /// The change that seals some of the secrets with the active key that are still under `from`; none if all are. Every
    /// one of them demands that the secret, the way so far and the master keys are as they were read.
    pub(crate) fn reseal(&self, from: &str) -> Result<Option<Change>, Error> {
        let known = self.masters()?;
        let since = known.masters.revision;
        let stored = self.records.get::<Resealing>(key::RESEALING)?;
        let expect = stored.as_ref().map_or(Expect::Absent, |stored| Expect::Revision(stored.revision));
        let pass = match stored.map(|stored| stored.value).filter(|pass| pass.since == since) {
            Some(pass) if pass.complete => return Ok(None),
            Some(pass) => pass,
            None => {
                Resealing { since, after: String::new(), resealed: 0, total: self.count_sealed()?, complete: false }
            }
        };
        let after = hex::decode(&pass.after).map_err(|error| Error::Corrupt(error.to_string()))?;
        let after = Some(after.as_slice()).filter(|after| !after.is_empty());
        let page = self.records.page::<Sealed>(key::SEALED.as_bytes(), after, BATCH)?;
        let mut change = known.guard(Change::new("iam.Reseal", format!("master-key/{from}")));
        let sealing = self.sealing(&known)?;
        let mut pass = Resealing { complete: page.next.is_none(), ..pass };
        for (at, Versioned { value: sealed, revision }) in page.values {
            pass.after = hex::encode(&at);
            pass.resealed += 1;
            if sealed.master == from {
                let name = Name::parse(&at)?;
                let owner = self.owner(&name)?;
                let label = Label { kind: &name.kind, principal: &owner, key: &name.id };
                let secret = self.master_keys.open(label, &sealed)?;
                change = change.replace(at, revision, &sealing.seal(label, &secret, self.random()?)?)?;
            }
        }
        pass.total = pass.total.max(pass.resealed);
        Ok(Some(change.expect(key::RESEALING.to_vec(), expect).put(key::RESEALING.to_vec(), &pass)?))
    }

    fn count_sealed(&self) -> Result<u64, Error> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.records.page::<Sealed>(key::SEALED.as_bytes(), after.as_deref(), PAGE)?;
            count += page.values.len() as u64;
            match page.next {
                None => return Ok(count),
                next => after = next,
            }
        }
    }

    /// The principal in the label of a sealed secret.
    fn owner(&self, name: &Name) -> Result<String, Error> {
        if name.kind != "credential" {
            return Ok(PLANE.to_owned());
        }
        let id = AccessKeyId::parse(&name.id);
        let id = id.ok_or_else(|| Error::Corrupt(format!("{}: no name of an access key", name.id)))?;
        // It may have been revoked since the secret was read.
        let owner = self.records.get::<AccessKey>(&key::access_key(&id))?.ok_or(Error::Conflict { found: None })?;
        Ok(owner.value.principal.to_string())
    }
}

/// What the key of a sealed secret says.
struct Name {
    kind: String,
    id: String,
}

impl Name {
    fn parse(at: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(at).ok().and_then(|text| text.strip_prefix(key::SEALED));
        let found = text.and_then(|text| text.split_once('/'));
        let (kind, id) = found.ok_or_else(|| Error::Corrupt(format!("{}: no sealed secret", at.escape_ascii())))?;
        Ok(Self { kind: kind.to_owned(), id: id.to_owned() })
    }
}
