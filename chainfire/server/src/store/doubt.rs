use std::time::Duration;

use chainfire_raft::Status;

use crate::Error;

/// What to tell a client whose change may or may not have happened: etcd's texts tell apart what may be to blame.
/// `before` and `after` are what this server knew when the request began and ended, `patience` is how long a request
/// may take.
pub(super) fn doubt(before: &Status, after: &Status, elapsed: Duration, patience: Duration) -> Error {
    let led_alike = before.term == after.term && before.is_leader == after.is_leader;
    if !led_alike {
        return Error::Unknown;
    }
    if after.leader.is_none() {
        // A leader that reaches no quorum, or a follower that hears nothing.
        return Error::ConnectionLost;
    }
    if elapsed >= patience {
        Error::TimedOut
    } else if after.is_leader {
        Error::Unknown
    } else {
        // The way to the leader broke while the request was on it.
        Error::ConnectionLost
    }
}

#[cfg(test)]
mod tests {
    use chainfire_raft::Slot;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(7);

    fn follower(term: u64, leader: Option<Slot>) -> Status {
        let (last_log, committed, applied) = (9, 9, 9);
        let learners = Vec::new();
        Status { slot: Slot(0), term, leader, is_leader: false, learners, last_log, committed, applied, failed: None }
    }

    /// §1.5, §2.9: the three texts of a request that timed out.
    #[test]
    fn the_text_says_what_may_be_to_blame() {
        let known = follower(3, Some(Slot(1)));
        let leading = Status { leader: Some(Slot(0)), is_leader: true, ..known.clone() };
        let text = |before: &Status, after: &Status, elapsed| doubt(before, after, elapsed, PATIENCE).to_string();
        let early = Duration::from_secs(1);
        let timed_out = "etcdserver: request timed out";
        assert_eq!(text(&known, &known, PATIENCE), timed_out);
        let failed = format!("{timed_out}, possibly due to previous leader failure");
        assert_eq!(text(&known, &follower(4, Some(Slot(2))), early), failed);
        assert_eq!(text(&leading, &known, PATIENCE), failed);
        assert_eq!(text(&leading, &leading, early), failed);
        let lost = format!("{timed_out}, possibly due to connection lost");
        assert_eq!(text(&known, &known, early), lost);
        assert_eq!(text(&leading, &Status { leader: None, ..leading.clone() }, PATIENCE), lost);
        assert_eq!(text(&known, &follower(3, None), PATIENCE), lost);
    }
}
