use std::time::Duration;

use tokio::time::Instant;

use crate::Slot;

/// Elections take a moment; only a lack of a leader that lasts is worth a line.
const PATIENCE: Duration = Duration::from_secs(5);
/// Then it is said again and again.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// Who leads a group, as far as the log should tell: changes, and that nobody does.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    /// Whom the log has named last.
    told: Option<Slot>,
    nobody_since: Option<Instant>,
    said: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Leads(Slot),
    /// For so long.
    Nobody(Duration),
}

impl Leadership {
    pub(super) fn news(&mut self, leader: Option<Slot>, now: Instant) -> Option<News> {
        let Some(leader) = leader else {
            let since = *self.nobody_since.get_or_insert(now);
            let again = self.said.is_none_or(|said| now.duration_since(said) >= REMIND_EVERY);
            let lasted = now.duration_since(since);
            if lasted < PATIENCE || !again {
                return None;
            }
            (self.told, self.said) = (None, Some(now));
            return Some(News::Nobody(lasted));
        };
        (self.nobody_since, self.said) = (None, None);
        (self.told.replace(leader) != Some(leader)).then_some(News::Leads(leader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_once_and_a_lack_that_lasts_every_minute() {
        let (mut leadership, begin) = (Leadership::default(), Instant::now());
        let mut at =
            |leader: Option<u16>, seconds| leadership.news(leader.map(Slot), begin + Duration::from_secs(seconds));
        assert_eq!(at(None, 0), None);
        assert_eq!(at(Some(1), 1), Some(News::Leads(Slot(1))));
        assert_eq!(at(Some(1), 2), None);
        assert_eq!(at(None, 3), None, "an election");
        assert_eq!(at(Some(1), 4), None, "who came back at once was never away");
        assert_eq!(at(Some(2), 5), Some(News::Leads(Slot(2))));
        assert_eq!(at(None, 10), None);
        assert_eq!(at(None, 15), Some(News::Nobody(PATIENCE)));
        assert_eq!(at(None, 74), None);
        assert_eq!(at(None, 75), Some(News::Nobody(Duration::from_secs(65))));
        assert_eq!(at(Some(2), 80), Some(News::Leads(Slot(2))));
    }
}
