use iam_core::rotation::{Planned, State, Step};

use super::{authorities::Authorities, master_keys::MasterKeys, signing_keys::SigningKeys};
use crate::{Error, iam::Inner, records::Change};

/// A kind of thing that rotates, as its jobs see it.
pub(crate) trait Family: Sync {
    /// As callers write it; part of keys.
    fn name(&self) -> &'static str;

    /// The item that is active.
    fn active(&self, inner: &Inner) -> Result<String, Error>;

    /// The state of the item `id`; none if there is no such item.
    fn state(&self, inner: &Inner, id: &str) -> Result<Option<State>, Error>;

    /// A new pending item: its id, and the change that adds it.
    fn add(&self, inner: &Inner) -> Result<(String, Change), Error>;

    /// The change that takes `step` with the item `id`, if it is possible now. If it is done already, one that demands
    /// that it stays so.
    fn step(&self, inner: &Inner, id: &str, step: Step) -> Result<Change, Error>;

    /// A part of what has to be done before `step` with the item `id` is possible, small enough for one change; none if
    /// nothing is left.
    fn work(&self, _inner: &Inner, _id: &str, _step: Step) -> Result<Option<Change>, Error> {
        Ok(None)
    }

    /// How much of such work is done; none if there is none.
    fn progress(&self, _inner: &Inner) -> Result<Option<Progress>, Error> {
        Ok(None)
    }

    /// What is left of replacing `from` by `to`, or by an item that is not made yet.
    fn plan(&self, inner: &Inner, from: &str, to: Option<&str>) -> Result<Plan, Error>;
}

pub(crate) const FAMILIES: [&dyn Family; 3] = [&SigningKeys, &Authorities, &MasterKeys];

/// How far work is that takes many changes.
pub(crate) struct Progress {
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// A rehearsal.
pub(crate) struct Plan {
    pub(crate) from: String,
    pub(crate) to: Option<String>,
    pub(crate) stages: Vec<Planned>,
    /// Until when something lasts that was made with the old item, and which server made it.
    pub(crate) longest: Option<(String, u64)>,
    /// Verifiers that do not enforce the present version, each with the time of its last word.
    pub(crate) behind: Vec<(String, Option<u64>)>,
}

pub(crate) fn family(name: &str) -> Result<&'static dyn Family, Error> {
    let found = FAMILIES.into_iter().find(|family| family.name() == name);
    found.ok_or_else(|| {
        let names = FAMILIES.map(Family::name).join(", ");
        Error::Invalid(format!("{name:?} does not rotate by jobs; these do: {names}"))
    })
}
