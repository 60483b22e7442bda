use std::{future::Future, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Questions that many ask at the same time and one answer may serve: whoever asks while a round is under way is served
/// by the next one, because an answer counts only for those who asked before its round began.
pub(super) struct Rounds<T> {
    queue: Arc<Mutex<Queue<T>>>,
}

struct Queue<T> {
    /// Whether somebody is at it.
    running: bool,
    waiting: Vec<oneshot::Sender<T>>,
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self { queue: Arc::new(Mutex::new(Queue { running: false, waiting: Vec::new() })) }
    }
}

impl<T: Clone + Send + 'static> Rounds<T> {
    /// The answer of a round that begins after this call. `round` runs one; only the first of those who ask brings its
    /// own to run, in a task that ends when nobody waits any more. None if that task was ended from outside.
    pub(super) async fn ask<F>(&self, round: impl Fn() -> F + Send + Sync + 'static) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let begin = {
            let mut queue = self.queue.lock();
            queue.waiting.push(answer);
            !std::mem::replace(&mut queue.running, true)
        };
        if begin {
            tokio::spawn(run(Turn { queue: Arc::clone(&self.queue), over: false }, round));
        }
        answered.await.ok()
    }
}

/// The right to run rounds.
struct Turn<T> {
    queue: Arc<Mutex<Queue<T>>>,
    /// It was given back; somebody else may have it.
    over: bool,
}

impl<T> Drop for Turn<T> {
    /// For a task that is ended in the middle: whoever waits is told by the closed channel.
    fn drop(&mut self) {
        if !self.over {
            let mut queue = self.queue.lock();
            queue.running = false;
            queue.waiting.clear();
        }
    }
}

impl<T> Turn<T> {
    /// Those whom the next round serves; none if nobody waits, which ends the turn.
    fn next(&mut self) -> Option<Vec<oneshot::Sender<T>>> {
        let mut queue = self.queue.lock();
        queue.waiting.retain(|waiting| !waiting.is_closed());
        if queue.waiting.is_empty() {
            queue.running = false;
            self.over = true;
            return None;
        }
        Some(std::mem::take(&mut queue.waiting))
    }
}

async fn run<T: Clone, F: Future<Output = T>>(mut turn: Turn<T>, round: impl Fn() -> F) {
    while let Some(served) = turn.next() {
        let answer = round().await;
        for waiting in served {
            // Who does not wait any more needs no answer.
            let _ = waiting.send(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use tokio::{sync::Semaphore, time::timeout};

    use super::*;

    /// Rounds that are counted when they begin and end when the test lets them.
    #[derive(Clone, Default)]
    struct Counted {
        rounds: Arc<Rounds<u64>>,
        begun: Arc<AtomicU64>,
        gate: Arc<Gate>,
    }

    struct Gate(Semaphore);

    impl Default for Gate {
        fn default() -> Self {
            Self(Semaphore::new(0))
        }
    }

    impl Counted {
        async fn ask(self) -> Option<u64> {
            let (begun, gate) = (self.begun, self.gate);
            let round = move || {
                let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                let gate = Arc::clone(&gate);
                async move {
                    gate.0.acquire().await.unwrap().forget();
                    number
                }
            };
            self.rounds.ask(round).await
        }

        async fn waiting(&self, count: usize) {
            while self.rounds.queue.lock().waiting.len() != count {
                tokio::task::yield_now().await;
            }
        }
    }

    /// §3.1: one round serves all reads that queued up, and none that came after it began.
    #[tokio::test]
    async fn who_asks_during_a_round_is_served_by_the_next() {
        let counted = Counted::default();
        let first = tokio::spawn(counted.clone().ask());
        while counted.begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let later: Vec<_> = (0..100).map(|_| tokio::spawn(counted.clone().ask())).collect();
        counted.waiting(100).await;
        counted.gate.0.add_permits(2);
        assert_eq!(first.await.unwrap(), Some(1));
        for served in later {
            assert_eq!(served.await.unwrap(), Some(2));
        }
        assert_eq!(counted.begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_does_not_stop_the_others() {
        let counted = Counted::default();
        assert!(timeout(Duration::from_secs(1), counted.clone().ask()).await.is_err());
        let later = tokio::spawn(counted.clone().ask());
        counted.waiting(1).await;
        counted.gate.0.add_permits(2);
        assert_eq!(later.await.unwrap(), Some(2));
        counted.gate.0.add_permits(1);
        assert_eq!(counted.clone().ask().await, Some(3));
    }
}
