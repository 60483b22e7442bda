use std::{
    io,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

use super::unsynced::Unsynced;
use crate::FatalHook;

/// Something that waits until everything written before it is on disk.
pub(crate) trait Waiter: Send + 'static {
    fn complete(self, result: io::Result<()>);
}

/// The thread that syncs the log. Whoever has written queues a waiter; one sync serves all that queued while the
/// sync before it ran, so that a hundred writers cost no more syncs than one. Waiters complete in queue order.
pub(crate) struct Flusher<W: Waiter> {
    /// None while it shuts down: the thread ends when the last sender is gone.
    queue: Option<Sender<W>>,
    thread: Option<JoinHandle<()>>,
    unsynced: Unsynced,
}

impl<W: Waiter> Flusher<W> {
    /// `sync` makes everything written before its call durable. It is never called again after it failed: what the
    /// kernel has dropped cannot be written by asking twice.
    pub(crate) fn spawn(
        mut sync: impl FnMut() -> Result<(), String> + Send + 'static,
        fatal: FatalHook,
    ) -> io::Result<Self> {
        let (queue, waiting) = mpsc::channel();
        let unsynced = Unsynced::default();
        let watched = unsynced.clone();
        let sync = move || {
            watched.begin();
            let synced = sync();
            watched.end();
            synced
        };
        let thread = thread::Builder::new().name("log-flusher".into()).spawn(move || run(&waiting, sync, &fatal))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), unsynced })
    }

    pub(crate) fn unsynced(&self) -> Unsynced {
        self.unsynced.clone()
    }

    /// Queues `waiter` behind everything that is written already.
    pub(crate) fn enqueue(&self, waiter: W) {
        let Some(queue) = &self.queue else { return waiter.complete(Err(stopped())) };
        if let Err(mpsc::SendError(waiter)) = queue.send(waiter) {
            waiter.complete(Err(stopped()));
        }
    }
}

impl<W: Waiter> Drop for Flusher<W> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has completed nobody; their waiters are gone with it.
            let _ = thread.join();
        }
    }
}

fn run<W: Waiter>(waiting: &Receiver<W>, mut sync: impl FnMut() -> Result<(), String>, fatal: &FatalHook) {
    let mut failed: Option<String> = None;
    while let Ok(first) = waiting.recv() {
        let batch: Vec<W> = std::iter::once(first).chain(waiting.try_iter()).collect();
        if failed.is_none()
            && let Err(error) = sync()
        {
            fatal.call(&format!("the log could not be synced: {error}"));
            failed = Some(error);
        }
        for waiter in batch {
            waiter.complete(failed.as_ref().map_or(Ok(()), |error| Err(io::Error::other(error.clone()))));
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log is closed")
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use parking_lot::Mutex;

    use super::*;

    struct Note(usize, Arc<Mutex<Vec<(usize, bool)>>>);

    impl Waiter for Note {
        fn complete(self, result: io::Result<()>) {
            self.1.lock().push((self.0, result.is_ok()));
        }
    }

    #[test]
    fn one_sync_serves_all_that_queued_meanwhile() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let syncs = Arc::new(AtomicUsize::new(0));
        let (open, gate) = mpsc::channel::<()>();
        let counted = Arc::clone(&syncs);
        let sync = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            // The first sync lasts until all others have queued.
            let _ = gate.recv();
            Ok(())
        };
        let flusher = Flusher::spawn(sync, FatalHook::new(|_| {})).unwrap();
        let unsynced = flusher.unsynced();
        assert_eq!(unsynced.age(), None);
        for number in 0..100 {
            flusher.enqueue(Note(number, Arc::clone(&seen)));
        }
        while unsynced.age().is_none_or(|age| age < Duration::from_millis(1)) {
            thread::yield_now();
        }
        drop(open);
        drop(flusher);
        assert_eq!(unsynced.age(), None);
        assert_eq!(*seen.lock(), (0..100).map(|number| (number, true)).collect::<Vec<_>>());
        assert!(syncs.load(Ordering::SeqCst) <= 2, "{syncs:?}");
    }

    #[test]
    fn a_failed_sync_is_fatal_and_never_retried() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reasons = Arc::new(Mutex::new(Vec::new()));
        let syncs = Arc::new(AtomicUsize::new(0));
        let (counted, told) = (Arc::clone(&syncs), Arc::clone(&reasons));
        let sync = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Err("input/output error".to_owned())
        };
        let hook = FatalHook::new(move |reason| told.lock().push(reason.to_owned()));
        let flusher = Flusher::spawn(sync, hook).unwrap();
        for number in 0..3 {
            flusher.enqueue(Note(number, Arc::clone(&seen)));
        }
        drop(flusher);
        assert_eq!(*seen.lock(), [(0, false), (1, false), (2, false)]);
        assert_eq!(*reasons.lock(), ["the log could not be synced: input/output error"]);
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
    }
}
