//! What requests and answers of clients take of this server's memory, and when it takes on no more.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use holdfast_rpc::{Standing, Weight};
use http::Extensions;
use prometheus_client::metrics::counter::Counter;
use tonic::Response;

use crate::metrics::Process;

/// Of all clients together. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// Messages on their way in.
    pub(crate) requests: Arc<Bound>,
    /// Answers that were read and are not sent yet.
    pub(crate) answers: Arc<Bound>,
}

/// Bytes that are held by all connections together, of which one may have half. Otherwise a few callers that begin
/// messages and do not end them, or ask and do not listen, take all memory.
#[derive(Debug)]
pub(crate) struct Bound {
    most: usize,
    held: AtomicUsize,
    of_connection: fn(&Weight) -> &AtomicUsize,
    refused: Counter,
}

/// What one call has of it, until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    bound: Arc<Bound>,
    /// None if the call came by no listener.
    standing: Option<Standing>,
    bytes: usize,
}

struct Held {
    data: Bytes,
    _hold: Arc<Hold>,
}

/// Each call has a buffer of this size anyway: what fits in is not counted, so that short requests are never refused.
const BUFFER: usize = 8 << 10;

/// Messages of the largest size that may come in at a time.
const LARGEST_REQUESTS: usize = 128;

/// An answer is in memory once, and twice while it becomes a message.
const PART_FOR_ANSWERS: usize = 4;

/// Where the kernel does not say how much memory there is, and where that is little.
const LEAST_FOR_ANSWERS: usize = 256 << 20;

impl Memory {
    /// Where a message may have `largest` bytes. `answers` is for answers; none for a part of the machine's memory.
    pub(crate) fn new(largest: usize, answers: Option<usize>) -> Self {
        let part = || (Process::memory() / PART_FOR_ANSWERS).max(LEAST_FOR_ANSWERS);
        Self {
            requests: Arc::new(Bound::new(largest.saturating_mul(LARGEST_REQUESTS), |weight| &weight.requests)),
            answers: Arc::new(Bound::new(answers.unwrap_or_else(part), |weight| &weight.answers)),
        }
    }
}

impl Bound {
    fn new(most: usize, of_connection: fn(&Weight) -> &AtomicUsize) -> Self {
        Self { most, held: AtomicUsize::new(0), of_connection, refused: Counter::default() }
    }

    /// For the call with these extensions; nothing yet.
    pub(crate) fn hold(self: &Arc<Self>, extensions: &Extensions) -> Hold {
        Hold { bound: Arc::clone(self), standing: extensions.get().cloned(), bytes: 0 }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How many calls were refused.
    pub(crate) fn refused(&self) -> &Counter {
        &self.refused
    }
}

impl Hold {
    /// Takes `bytes` more, if there is room for them. A call that is alone may have any size.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        let room = self.counts().fold(true, |room, (count, most)| {
            let before = count.fetch_add(bytes, Ordering::Relaxed);
            room && (before == self.bytes || before.saturating_add(bytes) <= most)
        });
        self.bytes += bytes;
        if !room {
            self.bound.refused.inc();
            self.give_back(bytes);
        }
        room
    }

    /// Takes what a message of `bytes` needs: the buffer for it stays as large as the largest message of the call.
    pub(crate) fn message(&mut self, bytes: usize) -> bool {
        bytes <= self.bytes.max(BUFFER) || self.add(bytes - self.bytes)
    }

    /// `answer`, whose bytes hold this until they are sent.
    pub(crate) fn until_sent<T>(self, answer: T) -> Response<T> {
        let mut response = Response::new(answer);
        if self.bytes > 0 {
            response.extensions_mut().insert(Arc::new(self));
        }
        response
    }

    /// `data`, which holds this until it is dropped.
    pub(crate) fn within(self: &Arc<Self>, data: Bytes) -> Bytes {
        Bytes::from_owner(Held { data, _hold: Arc::clone(self) })
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        for (count, _) in self.counts() {
            count.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// What counts this, and how much there may be.
    fn counts(&self) -> impl Iterator<Item = (&AtomicUsize, usize)> {
        let Bound { most, held, of_connection, .. } = &*self.bound;
        let connection = self.standing.as_ref().map(|standing| (of_connection(standing.weight()), most / 2));
        iter::once((held, *most)).chain(connection)
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(most: usize) -> Arc<Bound> {
        Arc::new(Bound::new(most, |weight| &weight.requests))
    }

    #[test]
    fn who_is_alone_may_have_any_size_and_others_share() {
        let bound = bound(100);
        let hold = || bound.hold(&Extensions::new());
        let (mut first, mut second) = (hold(), hold());
        assert!(first.add(1_000) && first.add(1_000), "nobody else is there");
        assert!(!second.add(1));
        drop(first);
        let mut first = hold();
        assert!(first.add(60) && second.add(40));
        assert!(!second.add(1) && !first.add(1));
        assert_eq!((bound.held(), bound.refused().get()), (100, 3));
        drop(second);
        assert!(first.add(40));
        drop(first);
        assert_eq!(bound.held(), 0);
    }

    #[test]
    fn a_message_counts_once_it_does_not_fit_into_the_buffer() {
        let bound = bound(3 * BUFFER);
        let (mut one, mut other) = (bound.hold(&Extensions::new()), bound.hold(&Extensions::new()));
        assert!(one.message(BUFFER));
        assert_eq!(bound.held(), 0);
        assert!(one.message(2 * BUFFER) && one.message(5) && one.message(2 * BUFFER));
        assert_eq!(bound.held(), 2 * BUFFER);
        assert!(!other.message(2 * BUFFER) && other.message(BUFFER));
    }
}
