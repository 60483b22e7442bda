use std::fmt;

use serde::{Deserialize, Serialize};

const INCARNATION_BITS: u32 = 48;
const INCARNATION_MASK: u64 = (1 << INCARNATION_BITS) - 1;

/// A place in the configured member list, counted from 0. It never changes while the cluster lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u16);

/// Which disk sits in a slot: 48 random bits drawn when a data folder is created. A server that lost its disk comes
/// back under another incarnation, so that its forgotten votes cannot be cast twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(u64);

/// A voter of a Raft group: slot and incarnation in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RaftId(u64);

/// One replicated log. Numbers are part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u16);

/// Where an entry stands in its group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

impl GroupId {
    pub const CHAINFIRE: Self = Self(1);
    pub const FLAREDB: Self = Self(2);
}

impl Incarnation {
    /// Draws a fresh incarnation; fails only if the operating system has no randomness.
    pub(crate) fn draw() -> Result<Self, getrandom::Error> {
        getrandom::u64().map(|random| Self(random & INCARNATION_MASK))
    }
}

impl RaftId {
    pub fn new(slot: Slot, incarnation: Incarnation) -> Self {
        Self((u64::from(slot.0) << INCARNATION_BITS) | incarnation.0)
    }

    pub fn slot(self) -> Slot {
        // The shift leaves 16 bits.
        Slot((self.0 >> INCARNATION_BITS) as u16)
    }

    pub fn incarnation(self) -> Incarnation {
        Incarnation(self.0 & INCARNATION_MASK)
    }

    pub(crate) fn to_u64(self) -> u64 {
        self.0
    }

    pub(crate) fn from_u64(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.slot(), self.incarnation())
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_and_incarnation_survive_packing() {
        let incarnation = Incarnation::draw().unwrap();
        for slot in [Slot(0), Slot(4), Slot(u16::MAX)] {
            let id = RaftId::new(slot, incarnation);
            assert_eq!((id.slot(), id.incarnation()), (slot, incarnation));
            assert_eq!(RaftId::from_u64(id.to_u64()), id);
        }
    }
}
