use std::{fmt, time::Duration};

use crate::Timing;

/// So many time-outs of an election without a sync, and a server leads no longer.
const STEP_DOWN_AFTER: u32 = 3;
/// So many, and an operator is told.
const TELL_AFTER: u32 = 10;

/// For how long the log has not been synced, where that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stall {
    pub age: Duration,
    /// It is more than a moment: somebody has to look at the disk.
    pub lasting: bool,
}

impl Stall {
    /// What it is that the oldest write has been waiting for `age`.
    pub(crate) fn of(age: Option<Duration>, timing: &Timing) -> Option<Self> {
        let age = age.filter(|age| *age >= timing.election_min * STEP_DOWN_AFTER)?;
        Some(Self { age, lasting: age >= timing.election_min * TELL_AFTER })
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the disk has not synced the log for {} s", self.age.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_time_outs_are_a_stall_and_ten_are_told() {
        let timing = Timing { election_min: Duration::from_millis(500), ..Timing::default() };
        let cases = [
            (None, None),
            (Some(0), None),
            (Some(1_499), None),
            (Some(1_500), Some(false)),
            (Some(4_999), Some(false)),
            (Some(5_000), Some(true)),
        ];
        for (millis, lasting) in cases {
            let age = millis.map(Duration::from_millis);
            let expected = age.zip(lasting).map(|(age, lasting)| Stall { age, lasting });
            assert_eq!(Stall::of(age, &timing), expected, "{age:?}");
        }
    }
}
