//! Revisions are one clock for all keys and all members: whoever asks later never hears an earlier one.

use std::collections::BTreeMap;

use super::call::{Call, End};

/// Calls whose revision is not later than that of a call that had ended before they began.
pub(super) fn backwards(calls: &[&Call]) -> Vec<String> {
    let mut ended: Vec<(u64, i64)> = calls.iter().filter_map(|call| revision(call)).collect();
    ended.sort_unstable();
    let mut begun: Vec<_> = calls.iter().filter(|call| call.end != End::Unknown).collect();
    begun.sort_by_key(|call| call.begun);
    let (mut ended, mut latest) = (ended.into_iter().peekable(), 0);
    let mut found = Vec::new();
    for call in begun {
        while let Some((_, earlier)) = ended.next_if(|(at, _)| *at < call.begun) {
            latest = latest.max(earlier);
        }
        let least = if call.changed() { latest + 1 } else { latest };
        if revision(call).is_some_and(|(_, own)| own < least) {
            found.push(format!("after revision {latest} was known: {call:?}"));
        }
    }
    found
}

/// Calls that made a revision which another call made, too.
pub(super) fn shared(calls: &[&Call]) -> Vec<String> {
    let mut makers: BTreeMap<i64, &Call> = BTreeMap::new();
    let changes = calls.iter().filter(|call| call.changed());
    let made = changes.filter_map(|call| Some((revision(call)?.1, *call)));
    made.filter_map(|(revision, call)| {
        makers.insert(revision, call).map(|other| format!("revision {revision} is of two: {other:?} and {call:?}"))
    })
    .collect()
}

/// When it ended, and the revision that it was told.
fn revision(call: &Call) -> Option<(u64, i64)> {
    match call.end {
        End::Answered { at, revision, .. } => Some((at, revision)),
        End::Unknown => None,
    }
}
