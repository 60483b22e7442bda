use std::collections::HashMap;

use iam_client::DecisionRecord;

/// Different denials between two writes, of everybody together.
const MAX_KINDS: usize = 1024;
/// Rows that one caller makes in a minute; what is beyond them is one row.
const MAX_ROWS: u32 = 60;
/// Callers that are counted apart in a minute.
const MAX_CALLERS: usize = 4096;
const MINUTE_MS: u64 = 60_000;

/// One refused call, without what differs between repeats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Denial {
    pub(crate) principal: String,
    pub(crate) authenticated_by: &'static str,
    /// Address without port: a guesser opens many connections.
    pub(crate) source: Option<String>,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) reason: String,
}

/// Denials since the last write, equal ones counted. The history keeps every row that comes out of here for good, so
/// that nobody may make more than a few of them in a minute, whatever he asks for.
#[derive(Default)]
pub(super) struct Denials {
    counts: HashMap<Denial, Count>,
    minute_ms: u64,
    /// What each caller made of this minute.
    callers: HashMap<Caller, Share>,
    dropped: u64,
}

/// A principal keeps its rows apart from those of strangers behind the same address.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Caller {
    principal: String,
    authenticated_by: &'static str,
    source: Option<String>,
}

#[derive(Default)]
struct Share {
    rows: u32,
    rest: Option<Count>,
}

struct Count {
    first_ms: u64,
    count: u64,
}

impl Denials {
    pub(super) fn add(&mut self, denial: Denial, now_ms: u64) {
        if let Some(count) = self.counts.get_mut(&denial) {
            count.more();
            return;
        }
        if self.callers.is_empty() {
            self.minute_ms = now_ms;
        }
        let caller = Caller {
            principal: denial.principal.clone(),
            authenticated_by: denial.authenticated_by,
            source: denial.source.clone(),
        };
        let known = self.callers.contains_key(&caller);
        if self.counts.len() >= MAX_KINDS || (!known && self.callers.len() >= MAX_CALLERS) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let share = self.callers.entry(caller).or_default();
        if share.rows < MAX_ROWS {
            share.rows += 1;
            self.counts.insert(denial, Count { first_ms: now_ms, count: 1 });
        } else if let Some(rest) = &mut share.rest {
            rest.more();
        } else {
            share.rest = Some(Count { first_ms: now_ms, count: 1 });
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Everything counted so far as records without sequence and event id; what is beyond a caller's rows only when the
    /// minute is over, or at the `end`.
    pub(super) fn take(&mut self, now_ms: u64, end: bool) -> Vec<DecisionRecord> {
        let mut records: Vec<_> = self.counts.drain().map(|(denial, count)| record(denial, &count)).collect();
        if end || now_ms.abs_diff(self.minute_ms) >= MINUTE_MS {
            for (caller, share) in self.callers.drain() {
                records.extend(share.rest.map(|rest| record(caller.beyond(), &rest)));
            }
        }
        records.sort_by_key(|record| record.time_ms);
        records
    }
}

impl Caller {
    fn beyond(self) -> Denial {
        Denial {
            principal: self.principal,
            authenticated_by: self.authenticated_by,
            source: self.source,
            action: "*".to_owned(),
            resource: "*".to_owned(),
            reason: format!("more than {MAX_ROWS} kinds of denials in a minute"),
        }
    }
}

impl Count {
    fn more(&mut self) {
        self.count = self.count.saturating_add(1);
    }
}

fn record(denial: Denial, count: &Count) -> DecisionRecord {
    DecisionRecord {
        sequence: 0,
        event_id: String::new(),
        time_ms: count.first_ms,
        principal: denial.principal,
        authenticated_by: denial.authenticated_by.to_owned(),
        source: denial.source,
        token_id: None,
        request_id: String::new(),
        action: denial.action,
        resource: denial.resource,
        outcome: "denied".to_owned(),
        reason: Some(denial.reason),
        count: count.count,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use super::*;

    fn denial(caller: usize, resource: usize) -> Denial {
        Denial {
            principal: format!("user/{caller}"),
            authenticated_by: "token",
            source: None,
            action: "kv.Read".into(),
            resource: format!("keys/{resource}"),
            reason: "no right on all of these keys".into(),
        }
    }

    #[test]
    fn equal_denials_are_one_record_and_kinds_are_bounded() {
        let mut denials = Denials::default();
        for time in 0..5 {
            denials.add(denial(0, 0), time);
        }
        for caller in 1..MAX_KINDS + 3 {
            denials.add(denial(caller, 0), 9);
        }
        let records = denials.take(9, false);
        assert_eq!((records.len(), records[0].count, records[0].time_ms), (MAX_KINDS, 5, 0));
        assert_eq!(denials.dropped(), 3);
        assert!(denials.take(9, true).is_empty());
    }

    #[test]
    fn a_caller_makes_few_rows_in_a_minute_and_the_rest_is_counted() {
        let mut denials = Denials::default();
        let mut rows = Vec::new();
        for second in 0..60 {
            for number in 0..10 {
                denials.add(denial(0, second * 10 + number), second as u64 * 1000);
            }
            denials.add(denial(1, 0), second as u64 * 1000);
            rows.extend(denials.take(second as u64 * 1000, false));
        }
        assert!(rows.iter().all(|row| row.resource != "*"), "the minute is not over");
        rows.extend(denials.take(MINUTE_MS, false));
        let of = |principal: &str| rows.iter().filter(|row| row.principal == principal).collect::<Vec<_>>();
        let (greedy, modest) = (of("user/0"), of("user/1"));
        assert_eq!((greedy.len(), modest.len()), (61, 60));
        let rest = greedy.iter().find(|row| row.resource == "*").unwrap();
        assert_eq!((rest.count, rest.time_ms), (540, 6000));
        denials.add(denial(0, 0), MINUTE_MS + 1);
        assert_eq!(denials.take(MINUTE_MS + 1, false)[0].resource, "keys/0", "another minute");
    }
}
