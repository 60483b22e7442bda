//! How fast a watcher that is behind reads its history. Reading and sending as fast as possible takes the processors
//! from those who write; never resting while they write, it could also fall further behind. So it rests, the longer the
//! more is written, and still reads several times as fast as is written.

use std::time::Duration;

use chainfire_core::kv::Revision;
use tokio::time::Instant;

/// Rests are this many times as long as the reading before them at most: what is read is also sent, which takes longer
/// than reading it, here and where it arrives.
const MOST: f64 = 30.0;

/// Revisions a second that are written for each time that a rest is as long as the reading.
const PER_REST: f64 = 100.0;

/// How many revisions are read for each one that is written, at least.
const FASTER: f64 = 3.0;

/// Of one stream.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The head of the history when the last reading began.
    last: Option<(Instant, Revision)>,
    rest: Option<Instant>,
}

impl Pace {
    /// When the next reading may begin; none for now.
    pub(super) fn resting(&self) -> Option<Instant> {
        self.rest.filter(|until| *until > Instant::now())
    }

    /// Notes a reading, which began at `begun` with the history's head at `head`. `revisions` is what it brought to each
    /// of the stream's watchers that are behind, as they read in turn.
    pub(super) fn read(&mut self, begun: Instant, head: Revision, revisions: usize) {
        let now = Instant::now();
        self.rest = self.last.replace((begun, head)).map(|(before, then)| {
            let written = head.0.saturating_sub(then.0) as f64;
            let rate = written / begun.duration_since(before).as_secs_f64().max(f64::EPSILON);
            now + rest(now.duration_since(begun), revisions, rate)
        });
    }
}

/// How long to rest after a reading that took `took` while `rate` revisions a second are written.
fn rest(took: Duration, revisions: usize, rate: f64) -> Duration {
    let wanted = took.mul_f64((rate / PER_REST).min(MOST));
    // Who reads a piece and rests takes in `revisions` in the time of both.
    let longest = Duration::try_from_secs_f64(revisions as f64 / (FASTER * rate)).unwrap_or(Duration::MAX);
    wanted.min(longest.saturating_sub(took))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(4);

    #[test]
    fn nobody_rests_where_nobody_writes() {
        assert_eq!(rest(TOOK, 3_000, 0.0), Duration::ZERO);
        assert!(rest(TOOK, 3_000, 10.0) < TOOK);
    }

    #[test]
    fn rests_grow_with_the_writes_up_to_a_bound() {
        assert_eq!(rest(TOOK, 3_000, 1_000.0), TOOK * 10);
        assert_eq!(rest(TOOK, 3_000, 5_000.0), TOOK * 30);
    }

    #[test]
    fn reading_stays_faster_than_writing() {
        for rate in [1.0, 1_000.0, 10_000.0, 100_000.0] {
            let cycle = TOOK + rest(TOOK, 1_000, rate);
            let read = 1_000.0 / cycle.as_secs_f64();
            assert!(read >= FASTER * rate * 0.999 || cycle == TOOK, "{read} of {rate}");
        }
    }
}
