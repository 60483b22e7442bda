use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The same of the same source is said again after this time.
const QUIET: Duration = Duration::from_secs(60);

/// Sources and causes that are remembered; beyond them nothing is said until some are forgotten.
const MOST: usize = 1_024;

/// What is wrong with callers, for the log: a caller that tries again and again must not fill it. Clones share what was
/// said.
#[derive(Clone, Debug, Default)]
pub struct Complaints(Arc<Mutex<HashMap<(IpAddr, String), Instant>>>);

impl Complaints {
    /// Whether to say `cause` of `source` now.
    pub fn is_news(&self, source: IpAddr, cause: &str) -> bool {
        self.is_news_at(Instant::now(), source, cause)
    }

    fn is_news_at(&self, now: Instant, source: IpAddr, cause: &str) -> bool {
        // Whoever panicked while holding it has left a whole map.
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: &Instant| now.saturating_duration_since(*at) < QUIET;
        let about = (source, cause.to_owned());
        if said.get(&about).is_some_and(recent) {
            return false;
        }
        if said.len() >= MOST {
            said.retain(|_, at| recent(at));
        }
        if said.len() >= MOST {
            return false;
        }
        said.insert(about, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    #[test]
    fn the_same_is_said_once_a_minute() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        assert!(complaints.is_news_at(now, HERE, "no certificate"));
        assert!(!complaints.clone().is_news_at(now + QUIET / 2, HERE, "no certificate"));
        assert!(complaints.is_news_at(now, HERE, "another cluster"));
        assert!(complaints.is_news_at(now, THERE, "no certificate"));
        assert!(complaints.is_news_at(now + QUIET, HERE, "no certificate"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        for number in 0..MOST {
            assert!(complaints.is_news_at(now, HERE, &number.to_string()));
        }
        assert!(!complaints.is_news_at(now, HERE, "one more"));
        assert!(complaints.is_news_at(now + QUIET, HERE, "one more"));
    }
}
