//! §2.6: the hub and the queues of its streams, without a store: what is queued, and who has to read from the disk.

use std::sync::Arc;

use bytes::Bytes;
use chainfire_core::kv::{Event, EventKind, KeyValue, Keys, Revision, RevisionEvents};

use super::{Filters, Hub, Order, Subscription, WatchId, Watcher, outbox::Item};

fn block(revision: i64, key: &'static [u8], bytes: usize) -> Arc<RevisionEvents> {
    let value = Bytes::from(vec![1; bytes]);
    let kv = KeyValue { key: key.into(), mod_revision: Revision(revision), value, ..KeyValue::default() };
    let event = Event { kind: EventKind::Put, kv, prev_kv: None };
    Arc::new(RevisionEvents { revision: Revision(revision), events: vec![event] })
}

fn order(key: &'static [u8], start: Option<i64>) -> Order {
    let watcher = Watcher {
        id: WatchId::NONE,
        keys: Keys::One(key.into()),
        start: Revision(0),
        future: false,
        filters: Filters::default(),
        prev_kv: false,
        fragment: false,
        progress_notify: false,
    };
    Order { id: None, start: start.map(Revision), watcher }
}

/// What waits in a stream's queue, in words.
fn queued(stream: &Subscription) -> Vec<String> {
    std::iter::from_fn(|| stream.outbox().take())
        .map(|item| match item {
            Item::Created { revision, .. } => format!("created at {revision}"),
            Item::Refused { reason, .. } => reason,
            Item::Canceled { .. } => "canceled".to_owned(),
            Item::Events { block, .. } => format!("events of {}", block.events.revision),
            Item::Progress { revision, .. } => format!("progress {revision}"),
            Item::FellBehind { watcher } => match stream.outbox().behind(&watcher) {
                Some(next) => format!("behind from {next}"),
                None => "fell behind and gone".to_owned(),
            },
            Item::End(error) => error.to_string(),
        })
        .collect()
}

fn hub_at(revision: i64) -> Arc<Hub> {
    let hub = Arc::new(Hub::default());
    hub.jump(Revision(revision));
    hub
}

#[test]
fn what_is_new_comes_live() {
    let hub = hub_at(5);
    let stream = hub.subscribe();
    stream.create(order(b"a", None), Revision(5)).unwrap();
    hub.publish(&block(6, b"a", 1));
    hub.publish(&block(7, b"b", 1));
    assert_eq!(queued(&stream), ["created at 5", "events of 6"]);
}

#[test]
fn what_is_readable_but_not_published_yet_is_not_new() {
    let hub = hub_at(5);
    let stream = hub.subscribe();
    stream.create(order(b"a", None), Revision(7)).unwrap();
    hub.publish(&block(6, b"a", 1));
    hub.publish(&block(7, b"a", 1));
    hub.publish(&block(8, b"a", 1));
    assert_eq!(queued(&stream), ["created at 7", "events of 8"]);
}

#[test]
fn the_past_is_read_from_the_disk_until_it_meets_the_present() {
    let hub = hub_at(5);
    let stream = hub.subscribe();
    stream.create(order(b"a", Some(2)), Revision(5)).unwrap();
    let items: Vec<Item> = std::iter::from_fn(|| stream.outbox().take()).collect();
    let [Item::Created { .. }, Item::FellBehind { watcher }] = items.as_slice() else { panic!("{items:?}") };
    // Published while the watcher reads up to 5: not its business yet.
    hub.publish(&block(6, b"a", 1));
    stream.advance(watcher, Revision(6));
    assert_eq!(stream.outbox().behind(watcher), Some(Revision(6)));
    stream.advance(watcher, Revision(7));
    assert_eq!(stream.outbox().behind(watcher), None);
    hub.publish(&block(7, b"a", 1));
    assert_eq!(queued(&stream), ["events of 7"]);
}

#[test]
fn a_stream_that_takes_too_little_falls_behind_and_holds_no_more() {
    let hub = hub_at(1);
    let stream = hub.subscribe();
    stream.create(order(b"a", None), Revision(1)).unwrap();
    for revision in 2..100 {
        hub.publish(&block(revision, b"a", 1 << 20));
    }
    assert_eq!(
        queued(&stream),
        ["created at 1", "events of 2", "events of 3", "events of 4", "events of 5", "behind from 6"]
    );
}

#[test]
fn after_a_snapshot_everybody_reads_what_was_skipped() {
    let hub = hub_at(5);
    let stream = hub.subscribe();
    stream.create(order(b"a", None), Revision(5)).unwrap();
    stream.create(order(b"b", Some(50)), Revision(5)).unwrap();
    hub.jump(Revision(20));
    assert_eq!(queued(&stream), ["created at 5", "created at 5", "behind from 6", "behind from 50"]);
}

#[test]
fn progress_is_asked_of_all_watchers() {
    let hub = hub_at(5);
    let stream = hub.subscribe();
    stream.create(order(b"a", None), Revision(5)).unwrap();
    stream.progress();
    stream.create(order(b"a", Some(9)), Revision(5)).unwrap();
    stream.progress();
    hub.publish(&block(9, b"x", 1));
    stream.progress();
    stream.create(order(b"a", Some(2)), Revision(9)).unwrap();
    stream.progress();
    assert_eq!(
        queued(&stream),
        ["created at 5", "progress 5", "created at 5", "progress 9", "created at 9", "behind from 2"]
    );
}

/// "empty response per watcher if it saw no event in the last interval", to those who asked, only when synced.
#[test]
fn a_round_tells_those_who_heard_nothing_since_the_last() {
    let hub = hub_at(5);
    let stream = hub.subscribe();
    let asking = |key, start| {
        let order = order(key, start);
        Order { watcher: Watcher { progress_notify: true, ..order.watcher }, ..order }
    };
    stream.create(asking(b"a", None), Revision(5)).unwrap();
    stream.create(order(b"a", None), Revision(5)).unwrap();
    stream.create(asking(b"b", Some(2)), Revision(5)).unwrap();
    stream.progress_round();
    assert_eq!(queued(&stream), ["created at 5", "created at 5", "created at 5", "behind from 2"]);
    stream.progress_round();
    assert_eq!(queued(&stream), ["progress 5"]);
    stream.outbox().sent(WatchId(0));
    stream.progress_round();
    assert_eq!(queued(&stream), [""; 0]);
    stream.progress_round();
    assert_eq!(queued(&stream), ["progress 5"]);
}

#[test]
fn nothing_is_left_of_a_stream_that_has_ended() {
    let hub = hub_at(1);
    let stream = hub.subscribe();
    stream.create(order(b"a", None), Revision(1)).unwrap();
    assert_eq!((hub.census().streams, hub.census().watchers), (1, 1));
    drop(stream);
    assert_eq!((hub.census().streams, hub.census().watchers), (0, 0));
    hub.publish(&block(2, b"a", 1));
}
