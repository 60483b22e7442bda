//! Is there an order of all calls on one key, each at some moment between its beginning and its end, in which a single
//! register would have given these answers? (Herlihy and Wing's linearizability; the search is Wing and Gong's with
//! Lowe's memory of where it has been.)

use std::collections::{BTreeSet, HashSet};

use super::{
    call::{Call, End},
    register::{self, Value},
};

/// A call that was answered and that no order explains, with what the key could have had at that time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction {
    pub(super) call: Call,
    pub(super) possible: BTreeSet<Option<Value>>,
}

/// Where the search is: which calls have happened so far, and what the key has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Point {
    /// This many of the answered calls have happened…
    past: usize,
    /// …and these later ones.
    ahead: BTreeSet<usize>,
    /// Of the calls without an answer, those that have happened.
    unknown: BTreeSet<usize>,
    value: Option<Value>,
}

/// The calls on a key that nobody had written before.
pub(super) fn explain(calls: &[Call]) -> Result<(), Contradiction> {
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_by_key(|call| call.begun);
    let (answered, unknown): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.end != End::Unknown);
    let mut open = vec![Point::default()];
    let mut seen: HashSet<_> = open.iter().cloned().collect();
    let (mut furthest, mut possible) = (0, BTreeSet::new());
    while let Some(point) = open.pop() {
        if point.past == answered.len() {
            return Ok(());
        }
        if point.past > furthest {
            (furthest, possible) = (point.past, BTreeSet::new());
        }
        if point.past == furthest {
            possible.insert(point.value);
        }
        open.extend(point.next(&answered, &unknown).filter(|next| seen.insert(next.clone())));
    }
    let stuck = answered.get(furthest).map(|call| Contradiction { call: (*call).clone(), possible });
    stuck.map_or(Ok(()), Err)
}

impl Point {
    /// Every point that one more call leads to. It must have begun before another open one ended.
    fn next<'a>(&'a self, answered: &'a [&Call], unknown: &'a [&Call]) -> impl Iterator<Item = Self> + 'a {
        let open = || answered.iter().enumerate().skip(self.past).filter(|(place, _)| !self.ahead.contains(place));
        let mut deadline = u64::MAX;
        for (_, call) in open() {
            if call.begun > deadline {
                break;
            }
            if let End::Answered { at, .. } = call.end {
                deadline = deadline.min(at);
            }
        }
        let answered = open().take_while(move |(_, call)| call.begun < deadline);
        let unknown = unknown.iter().enumerate().take_while(move |(_, call)| call.begun < deadline);
        let unknown = unknown.filter(|(place, _)| !self.unknown.contains(place));
        let with = |call: &Call| register::after(self.value, call.op, call.answer());
        let answered = answered.filter_map(move |(place, call)| Some(self.with_answered(place, with(call)?)));
        // A call that changes nothing, and that nobody waits for, leads nowhere.
        let unknown = unknown.filter_map(move |(place, call)| {
            with(call).filter(|value| *value != self.value).map(|value| self.with_unknown(place, value))
        });
        unknown.chain(answered)
    }

    fn with_answered(&self, place: usize, value: Option<Value>) -> Self {
        let mut next = Self { value, ..self.clone() };
        next.ahead.insert(place);
        while next.ahead.remove(&next.past) {
            next.past += 1;
        }
        next
    }

    fn with_unknown(&self, place: usize, value: Option<Value>) -> Self {
        let mut next = Self { value, ..self.clone() };
        next.unknown.insert(place);
        next
    }
}
