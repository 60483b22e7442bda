use std::cmp::Ordering;

use holdfast_keyspace::Read;

use super::{
    Budget, Compare, Keys, Operand, Relation, Revision,
    index::Version,
    live::{self, LiveKeys},
};
use crate::{Failure, lease::LeaseId};

/// Whether every compare holds now; none at all hold.
pub(super) fn all_hold(read: &dyn Read, compares: &[Compare], budget: &mut Budget<'_>) -> Result<bool, Failure> {
    for compare in compares {
        if !holds(read, compare, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A range compare must hold for every key; without any key it is treated like one key that does not exist.
fn holds(read: &dyn Read, compare: &Compare, budget: &mut Budget<'_>) -> Result<bool, Failure> {
    if let Keys::One(key) = &compare.keys {
        let version = live::live(read, key, Revision::MAX)?;
        return holds_for(read, compare, version.as_ref(), budget);
    }
    let mut none = true;
    let mut keys = LiveKeys::new(read, &compare.keys, Revision::MAX);
    while let Some(version) = keys.next() {
        none = false;
        budget.walked(&mut keys)?;
        if !holds_for(read, compare, Some(&version?), budget)? {
            return Ok(false);
        }
    }
    budget.walked(&mut keys)?;
    if none { holds_for(read, compare, None, budget) } else { Ok(true) }
}

fn holds_for(
    read: &dyn Read,
    compare: &Compare,
    version: Option<&Version>,
    budget: &mut Budget<'_>,
) -> Result<bool, Failure> {
    let live = version.and_then(|version| version.live);
    let ordering = match &compare.operand {
        Operand::Version(expected) => live.map_or(0, |live| live.version).cmp(expected),
        Operand::Create(expected) => live.map_or(Revision(0), |live| live.created).cmp(expected),
        Operand::Mod(expected) => version.map_or(Revision(0), |version| version.row.main).cmp(expected),
        Operand::Lease(expected) => live.map_or(LeaseId::NONE, |live| live.lease).cmp(expected),
        Operand::Value(expected) => match version {
            // A key that does not exist has no value to compare, not even an empty one.
            None => return Ok(false),
            Some(version) => {
                let value = live::load(read, version.row)?.value;
                budget.pay(value.len())?;
                value.cmp(expected)
            }
        },
        Operand::Unknown => Ordering::Equal,
    };
    Ok(match compare.relation {
        Relation::Equal => ordering == Ordering::Equal,
        Relation::NotEqual => ordering != Ordering::Equal,
        Relation::Greater => ordering == Ordering::Greater,
        Relation::Less => ordering == Ordering::Less,
        Relation::Any => true,
    })
}
