use std::time::Duration;

use configsrv_fleet::Version;

/// A timer whose active version says nothing about it.
const INTERVAL: Duration = Duration::from_secs(300);
/// How long a server may hold its answer back; less than servers and proxies are willing to.
const PATIENCE: Duration = Duration::from_secs(55);
/// Watches that are answered sooner ask again after this: whoever answered does not wait for news.
const SPACING: Duration = Duration::from_secs(1);
/// While a version waits for its confirmation, or files for a decision, nothing else is looked for.
const RECHECK: Duration = Duration::from_secs(2);
/// After the first failure; each further one doubles it.
const BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The servers hold their answer until there is news.
    Watch,
    /// The servers are asked from time to time.
    Timer,
}

/// How a look ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There is nothing new.
    Same,
    /// Something new was activated or adopted.
    Done,
    /// A version waits for its confirmation, somebody has to decide about changed files, or somebody else is at work.
    Waiting,
    /// Something new came that is not for here, or that failed.
    Refused { version: Option<Version> },
    /// Nobody answered, or this machine is in trouble.
    Failed,
}

/// When to look next, and for how long. Nodes do not look together: each has a rhythm of its own, from its name.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    mode: Mode,
    seed: u64,
    rounds: u64,
    failures: u32,
}

impl Schedule {
    pub(crate) fn new(mode: Mode, node: &str) -> Self {
        Self { mode, seed: mix(node.bytes().map(u64::from)), rounds: 0, failures: 0 }
    }

    pub(crate) fn patience(&self) -> Duration {
        match self.mode {
            Mode::Watch => PATIENCE,
            Mode::Timer => Duration::ZERO,
        }
    }

    /// Until the first look: machines that start together spread over an interval.
    pub(crate) fn first(&mut self, interval: Option<Duration>) -> Duration {
        let within = match self.mode {
            Mode::Watch => SPACING,
            Mode::Timer => interval.unwrap_or(INTERVAL),
        };
        within.mul_f64(self.chance())
    }

    /// Until the next look, after one that took `took`.
    pub(crate) fn next(&mut self, ended: &Ended, took: Duration, interval: Option<Duration>) -> Duration {
        if matches!(ended, Ended::Failed | Ended::Refused { version: None }) {
            let doubled = BACK_OFF.saturating_mul(1 << self.failures.min(16)).min(LONGEST_BACK_OFF);
            self.failures = self.failures.saturating_add(1);
            return doubled.mul_f64(0.5 + self.chance() / 2.0);
        }
        self.failures = 0;
        match (self.mode, ended) {
            (_, Ended::Waiting) => RECHECK,
            (Mode::Watch, _) => SPACING.saturating_sub(took),
            (Mode::Timer, _) => interval.unwrap_or(INTERVAL).mul_f64(0.9 + self.chance() / 5.0),
        }
    }

    /// From 0 to 1, another one each time.
    fn chance(&mut self) -> f64 {
        self.rounds += 1;
        // As many bits as the number has.
        let bits = mix([self.seed, self.rounds]) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

/// A number that has something of every bit of `parts`: FNV-1a, and then the end of splitmix64.
fn mix(parts: impl IntoIterator<Item = u64>) -> u64 {
    let folded =
        parts.into_iter().fold(0xcbf2_9ce4_8422_2325, |state: u64, part| (state ^ part).wrapping_mul(0x0100_0000_01b3));
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_spread_over_the_interval() {
        let every = Duration::from_secs(100);
        let mut tenths = [0; 10];
        for node in 0..1000 {
            let first = Schedule::new(Mode::Timer, &format!("node-{node}")).first(Some(every));
            tenths[usize::try_from(first.as_secs() / 10).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
    }

    #[test]
    fn one_answer_ends_the_back_off() {
        let mut schedule = Schedule::new(Mode::Watch, "pier2");
        let mut next = |ended| schedule.next(&ended, Duration::ZERO, None);
        for _ in 0..40 {
            assert!(next(Ended::Failed) <= LONGEST_BACK_OFF);
        }
        assert_eq!(next(Ended::Waiting), RECHECK);
        assert!(next(Ended::Failed) <= BACK_OFF);
    }
}
