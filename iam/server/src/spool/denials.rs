use std::collections::HashMap;

use iam_client::DecisionRecord;

/// Different denials in one interval; more are counted together.
const MAX_KINDS: usize = 1024;

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

/// Denials since the last write, equal ones counted.
#[derive(Default)]
pub(super) struct Denials {
    counts: HashMap<Denial, Count>,
    dropped: u64,
}

struct Count {
    first_ms: u64,
    count: u64,
}

impl Denials {
    pub(super) fn add(&mut self, denial: Denial, now_ms: u64) {
        if let Some(count) = self.counts.get_mut(&denial) {
            count.count = count.count.saturating_add(1);
        } else if self.counts.len() < MAX_KINDS {
            self.counts.insert(denial, Count { first_ms: now_ms, count: 1 });
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Everything counted so far as records without sequence and event id.
    pub(super) fn take(&mut self) -> Vec<DecisionRecord> {
        let mut records: Vec<_> = self.counts.drain().map(|(denial, count)| record(denial, &count)).collect();
        records.sort_by_key(|record| record.time_ms);
        records
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
mod tests {
    use super::*;

    fn denial(number: usize) -> Denial {
        Denial {
            principal: format!("user/{number}"),
            authenticated_by: "nothing",
            source: None,
            action: "iam.Authenticate".into(),
            resource: "iam/tokens".into(),
            reason: "expired".into(),
        }
    }

    #[test]
    fn equal_denials_are_one_record_and_kinds_are_bounded() {
        let mut denials = Denials::default();
        for time in 0..5 {
            denials.add(denial(0), time);
        }
        for number in 1..MAX_KINDS + 3 {
            denials.add(denial(number), 9);
        }
        let records = denials.take();
        assert_eq!((records.len(), records[0].count, records[0].time_ms), (MAX_KINDS, 5, 0));
        assert_eq!(denials.dropped(), 3);
        assert!(denials.is_empty());
    }
}
