use std::time::Duration;

use tokio::time::Instant;

use super::Stall;

/// A stall that goes on is told again and again.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// What the log tells of stalls: those that last, and their end.
#[derive(Debug, Default)]
pub(super) struct Telling {
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    lasted: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// For so long until now.
    Lasts(Duration),
    /// After so long at least.
    Over(Duration),
}

impl Telling {
    pub(super) fn news(&mut self, stall: Option<Stall>, now: Instant) -> Option<News> {
        let Some(Stall { age, .. }) = stall.filter(|stall| stall.lasting) else {
            return self.told.take().map(|told| News::Over(told.lasted));
        };
        let told = self.told.get_or_insert(Told { at: now, lasted: Duration::ZERO });
        let first = told.lasted.is_zero();
        told.lasted = age;
        if !first && now.duration_since(told.at) < REMIND_EVERY {
            return None;
        }
        told.at = now;
        Some(News::Lasts(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_that_lasts_is_told_every_minute_and_so_is_its_end() {
        let (mut telling, begin) = (Telling::default(), Instant::now());
        let seconds = Duration::from_secs;
        let mut at = |second, stall: Option<(u64, bool)>| {
            let stall = stall.map(|(age, lasting)| Stall { age: seconds(age), lasting });
            telling.news(stall, begin + seconds(second))
        };
        assert_eq!(at(0, None), None);
        assert_eq!(at(3, Some((3, false))), None, "a moment");
        assert_eq!(at(4, None), None, "of which nobody has heard");
        assert_eq!(at(20, Some((10, true))), Some(News::Lasts(seconds(10))));
        assert_eq!(at(79, Some((69, true))), None);
        assert_eq!(at(80, Some((70, true))), Some(News::Lasts(seconds(70))));
        assert_eq!(at(90, Some((80, true))), None);
        assert_eq!(at(91, None), Some(News::Over(seconds(80))));
        assert_eq!(at(92, None), None);
    }
}
