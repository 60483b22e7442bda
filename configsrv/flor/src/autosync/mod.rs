//! Syncs that nobody starts: the daemon asks the servers by itself, waiting for news or from time to time.

mod looks;
mod schedule;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use configsrv_fleet::Version;
use holdfast_service::Stop;
use tokio::time::{Instant, sleep};

pub(crate) use looks::AgentLooks;
pub(crate) use schedule::{Ended, Mode, Schedule};

/// What a daemon does when it is its turn to look.
#[async_trait]
pub(crate) trait Looks: Send + Sync {
    /// One look at what the servers have, which may wait for news for `patience`, and what it leads to. A version to
    /// `skip` was refused before.
    async fn look(&self, skip: Option<Version>, patience: Duration) -> Ended;

    /// How often the active version wants to be asked for the next one.
    fn interval(&self) -> Option<Duration>;
}

/// Looks until `stop`.
pub(crate) async fn run(looks: Arc<dyn Looks>, mut schedule: Schedule, stop: Stop) {
    let mut skip = None;
    let mut wait = schedule.first(looks.interval());
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(wait) => {}
        }
        let begun = Instant::now();
        let ended = tokio::select! {
            () = stop.requested() => return,
            ended = looks.look(skip, schedule.patience()) => ended,
        };
        skip = match ended {
            Ended::Refused { version } => version,
            // Nothing was heard that changes what is known.
            Ended::Same | Ended::Waiting | Ended::Failed => skip,
            Ended::Done => None,
        };
        wait = schedule.next(&ended, begun.elapsed(), looks.interval());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Ends looks as told, each after some time, and notes when they began.
    struct Script {
        ends: Mutex<Vec<(Duration, Ended)>>,
        begun: Mutex<Vec<(Instant, Option<Version>)>>,
        stop: Stop,
    }

    #[async_trait]
    impl Looks for Script {
        async fn look(&self, skip: Option<Version>, patience: Duration) -> Ended {
            self.begun.lock().unwrap().push((Instant::now(), skip));
            let next = self.ends.lock().unwrap().pop();
            let Some((takes, ended)) = next else {
                self.stop.request();
                return Ended::Same;
            };
            sleep(takes.min(patience)).await;
            ended
        }

        fn interval(&self) -> Option<Duration> {
            Some(Duration::from_secs(30))
        }
    }

    /// When the looks began, in seconds after the first, and what they skipped.
    async fn looks(mode: Mode, mut ends: Vec<(u64, Ended)>) -> Vec<(f64, Option<u64>)> {
        ends.reverse();
        let ends = ends.into_iter().map(|(seconds, ended)| (Duration::from_secs(seconds), ended)).collect();
        let stop = Stop::new();
        let script = Arc::new(Script { ends: Mutex::new(ends), begun: Mutex::default(), stop: stop.clone() });
        run(Arc::clone(&script) as _, Schedule::new(mode, "pier2"), stop).await;
        let begun = script.begun.lock().unwrap().clone();
        let first = begun[0].0;
        begun.iter().map(|(at, skip)| ((*at - first).as_secs_f64(), skip.map(Version::get))).collect()
    }

    fn refused(version: u64) -> Ended {
        Ended::Refused { version: Some(Version::new(version).unwrap()) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_asks_again_as_soon_as_it_is_answered() {
        let looks =
            looks(Mode::Watch, vec![(55, Ended::Same), (55, Ended::Same), (20, Ended::Done), (55, Ended::Same)]);
        let at: Vec<f64> = looks.await.into_iter().map(|(at, _)| at).collect();
        for (at, expected) in at.iter().zip([0.0, 55.0, 110.0, 130.0, 185.0]) {
            assert!((at - expected).abs() < 0.5, "{at} instead of {expected}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_wait_is_not_flooded() {
        let looks = looks(Mode::Watch, (0..10).map(|_| (0, Ended::Same)).collect()).await;
        assert!(looks.last().unwrap().0 >= 10.0, "{looks:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_asks_from_time_to_time() {
        let looks = looks(Mode::Timer, (0..10).map(|_| (0, Ended::Same)).collect()).await;
        for pair in looks.windows(2) {
            let gap = pair[1].0 - pair[0].0;
            assert!((27.0..=33.0).contains(&gap), "{looks:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_is_skipped_until_something_else_comes() {
        let ends = vec![(0, refused(7)), (55, Ended::Same), (1, refused(8)), (3, Ended::Done), (55, Ended::Same)];
        let skipped: Vec<_> = looks(Mode::Watch, ends).await.into_iter().map(|(_, skip)| skip).collect();
        assert_eq!(skipped, [None, Some(7), Some(7), Some(8), None, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_do_not_answer_are_asked_less_and_less() {
        let looks = looks(Mode::Watch, (0..12).map(|_| (0, Ended::Failed)).collect()).await;
        let gaps: Vec<f64> = looks.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps[0] <= 1.0 && gaps[3] > 2.0 * gaps[0] && gaps.iter().all(|gap| *gap <= 60.0), "{gaps:?}");
        assert!(gaps[11] >= 30.0, "{gaps:?}");
    }
}
