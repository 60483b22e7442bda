//! Watching. The apply path hands each revision to the [`Hub`], which finds the watchers it concerns and queues one
//! shared block at their streams; it never waits for a client. A watcher whose stream cannot take more, or that asked
//! for the past, reads history from the disk in bounded parts until it has caught up.

mod hub;
mod index;
mod outbox;
mod pace;
mod sender;
#[cfg(test)]
mod tests;
mod watcher;

pub(crate) use hub::{Hub, Order, Subscription};
pub(crate) use sender::{Sender, Told};
pub(crate) use watcher::{Filters, WatchId, Watcher};
