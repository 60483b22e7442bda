//! §2.6, the guarantees: ordered, unique, reliable, atomic and resumable events, with the right old values and filters.

use holdfast_proto::{
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest, WatchCreateRequest,
        request_op::Request, watch_create_request::FilterType,
    },
    mvccpb::{Event, event::EventType},
};
use prost::Message as _;

use super::{Stream, change, changes, on, prefix, revision};
use crate::{kv::put, support::TestServer};

fn delete(key: &'static str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), ..Default::default() }
}

#[tokio::test]
async fn events_arrive_live_with_the_old_value_where_asked() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    server.kv().put(put("a", "0")).await?;
    let mut stream = Stream::open(&server).await?;
    stream.create(WatchCreateRequest { prev_kv: true, ..on("a") }).await?;
    let created = stream.next().await?;
    assert_eq!((created.created, created.watch_id, revision(&created)), (true, 0, 2));
    server.kv().put(put("a", "1")).await?;
    server.kv().put(put("other", "1")).await?;
    server.kv().delete_range(delete("a")).await?;

    let first = stream.next().await?;
    assert_eq!(revision(&first), 3);
    assert_eq!(changes(&first.events), [change(EventType::Put, "a", 3)]);
    let old = first.events.first().and_then(|event| event.prev_kv.clone()).unwrap_or_default();
    assert_eq!(old.value, "0");
    let second = stream.next().await?;
    assert_eq!(changes(&second.events), [change(EventType::Delete, "a", 5)]);
    let gone = second.events.first().and_then(|event| event.kv.clone()).unwrap_or_default();
    assert_eq!((gone.create_revision, gone.version, gone.value.len()), (0, 0, 0));
    Ok(())
}

#[tokio::test]
async fn history_comes_first_and_nothing_is_lost_or_repeated() -> anyhow::Result<()> {
    const PAST: i64 = 500;
    const LIVE: i64 = 500;
    let server = TestServer::start().await?;
    for n in 0..PAST {
        server.kv().put(put(&format!("k{}", n % 7), "v")).await?;
    }
    let mut stream = Stream::open(&server).await?;
    stream.created(WatchCreateRequest { start_revision: 2, ..prefix("k", "l") }).await?;
    let mut kv = server.kv();
    let writing = tokio::spawn(async move {
        for n in 0..LIVE {
            kv.put(put(&format!("k{}", n % 7), "v")).await?;
        }
        anyhow::Ok(())
    });
    let mut seen = Vec::new();
    while (seen.len() as i64) < PAST + LIVE {
        seen.extend(changes(&stream.next().await?.events).into_iter().map(|(_, _, revision)| revision));
    }
    writing.await??;
    assert_eq!(seen, (2..2 + PAST + LIVE).collect::<Vec<_>>());
    Ok(())
}

/// "A response may batch many revisions for catch-up (header.revision = store revision at that time) – synced watchers
/// get one revision per response (header.revision = event revision)."
#[tokio::test]
async fn headers_tell_the_stores_revision_with_history_and_the_events_own_when_live() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for key in ["a", "a", "a", "other"] {
        server.kv().put(put(key, "v")).await?;
    }
    let mut stream = Stream::open(&server).await?;
    stream.created(WatchCreateRequest { start_revision: 2, ..on("a") }).await?;
    let history = stream.next().await?;
    assert_eq!((history.events.len(), revision(&history)), (3, 5));
    for live in 6..9 {
        server.kv().put(put("a", "v")).await?;
        let response = stream.next().await?;
        assert_eq!((changes(&response.events), revision(&response)), (vec![change(EventType::Put, "a", live)], live));
    }
    Ok(())
}

/// "Resumable (restart at last revision+1)", also from the middle of what one response had.
#[tokio::test]
async fn a_watch_goes_on_where_another_has_ended() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    for _ in 2..=9 {
        server.kv().put(put("a", "v")).await?;
    }
    for last in 1..=8 {
        let mut stream = Stream::open(&server).await?;
        stream.created(WatchCreateRequest { start_revision: last + 1, ..on("a") }).await?;
        let expected: Vec<_> = (last + 1..=9).map(|revision| change(EventType::Put, "a", revision)).collect();
        assert_eq!(changes(&stream.next().await?.events), expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_not_read_loses_nothing_and_holds_up_nobody() -> anyhow::Result<()> {
    const WRITES: usize = 3_000;
    let server = TestServer::start().await?;
    let mut stream = Stream::open(&server).await?;
    stream.created(prefix("k", "l")).await?;
    let value = "x".repeat(2_000);
    for _ in 0..WRITES / 100 {
        let op = |n: usize| RequestOp { request: Some(Request::RequestPut(put(&format!("k{n}"), &value))) };
        for _ in 0..100 {
            server.kv().txn(TxnRequest { success: vec![op(0), op(1)], ..Default::default() }).await?;
        }
    }
    let mut next = 2;
    while next < 2 + WRITES as i64 {
        for pair in changes(&stream.next().await?.events).chunks(2) {
            let expected = [change(EventType::Put, "k0", next), change(EventType::Put, "k1", next)];
            assert_eq!(pair, expected);
            next += 1;
        }
    }
    Ok(())
}

fn old_value(event: &Event) -> Option<(String, i64)> {
    let old = event.prev_kv.as_ref()?;
    Some((String::from_utf8_lossy(&old.value).into_owned(), old.mod_revision))
}

/// "prev_kv (value at event revision − 1; absent if compacted; never on create events) and IsCreate (create_revision ==
/// mod_revision)", live and from history alike.
#[tokio::test]
async fn old_values_are_those_of_the_revision_before() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut live = Stream::open(&server).await?;
    live.created(WatchCreateRequest { prev_kv: true, ..on("a") }).await?;
    let mut unasked = Stream::open(&server).await?;
    unasked.created(on("a")).await?;
    server.kv().put(put("a", "1")).await?;
    server.kv().put(put("a", "2")).await?;
    server.kv().delete_range(delete("a")).await?;
    server.kv().put(put("a", "3")).await?;
    let old = |value: &str, revision| Some((value.to_owned(), revision));
    let expected = [(true, None), (false, old("1", 2)), (false, old("2", 3)), (true, None)];
    let told = |event: &Event| {
        let kv = event.kv.clone().unwrap_or_default();
        (event.r#type() == EventType::Put && kv.create_revision == kv.mod_revision, old_value(event))
    };
    for expected in &expected {
        assert_eq!(live.next().await?.events.iter().map(told).collect::<Vec<_>>(), std::slice::from_ref(expected));
    }
    let mut past = Stream::open(&server).await?;
    past.created(WatchCreateRequest { prev_kv: true, start_revision: 2, ..on("a") }).await?;
    assert_eq!(past.next().await?.events.iter().map(told).collect::<Vec<_>>(), expected);
    // Who did not ask is told none.
    past.created(WatchCreateRequest { start_revision: 2, ..on("a") }).await?;
    assert_eq!(past.next().await?.events.iter().map(old_value).collect::<Vec<_>>(), [const { None }; 4]);
    for _ in &expected {
        assert_eq!(unasked.next().await?.events.iter().map(old_value).collect::<Vec<_>>(), [None]);
    }

    server.kv().compact(CompactionRequest { revision: 3, physical: true }).await?;
    let mut kept = Stream::open(&server).await?;
    kept.created(WatchCreateRequest { prev_kv: true, start_revision: 3, ..on("a") }).await?;
    let events = kept.next().await?.events;
    assert_eq!(events.iter().map(old_value).collect::<Vec<_>>(), [None, old("2", 3), None]);
    Ok(())
}

/// "Filtered-out events send nothing", from history and live.
#[tokio::test]
async fn filtered_events_send_nothing() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let mut live = Vec::new();
    let filters = [vec![FilterType::Noput], vec![FilterType::Nodelete], vec![FilterType::Noput, FilterType::Nodelete]];
    let watch = |filters: &[FilterType], start_revision| {
        let filters = filters.iter().map(|filter| i32::from(*filter)).collect();
        WatchCreateRequest { filters, start_revision, ..prefix("a", "c") }
    };
    for filters in &filters {
        let mut stream = Stream::open(&server).await?;
        stream.created(watch(filters, 0)).await?;
        // The end, which nothing hides.
        stream.created(on("end")).await?;
        live.push(stream);
    }
    server.kv().put(put("a", "1")).await?;
    server.kv().delete_range(delete("a")).await?;
    server.kv().put(put("end", "1")).await?;
    let (deleted, stored) = (change(EventType::Delete, "a", 3), change(EventType::Put, "a", 2));
    let end = change(EventType::Put, "end", 4);
    let expected = [vec![deleted, end.clone()], vec![stored, end.clone()], vec![end]];
    for ((filters, mut stream), expected) in filters.iter().zip(live).zip(expected) {
        let mut past = Stream::open(&server).await?;
        past.created(watch(filters, 2)).await?;
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            seen.extend(changes(&stream.next().await?.events));
        }
        assert_eq!(seen, expected, "{filters:?}");
        if let [wanted, _] = expected.as_slice() {
            assert_eq!(changes(&past.next().await?.events), std::slice::from_ref(wanted), "{filters:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn large_revisions_come_in_fragments_where_asked() -> anyhow::Result<()> {
    let server = TestServer::start().await?;
    let half = PutRequest { value: vec![b'x'; 700 << 10].into(), ..Default::default() };
    let op = |key: &'static str| RequestOp {
        request: Some(Request::RequestPut(PutRequest { key: key.into(), ..half.clone() })),
    };
    let both = TxnRequest { success: vec![op("k0"), op("k1")], ..Default::default() };
    server.kv().txn(both.clone()).await?;
    let mut stream = Stream::open(&server).await?;
    // With their old values, two events are too large for one message.
    stream.created(WatchCreateRequest { fragment: true, prev_kv: true, ..prefix("k", "l") }).await?;
    server.kv().txn(both).await?;
    for (key, more) in [("k0", true), ("k1", false)] {
        let part = stream.next().await?;
        assert_eq!(changes(&part.events), [change(EventType::Put, key, 3)]);
        assert_eq!(part.fragment, more);
    }
    // Whoever does not take fragments gets it whole.
    let mut whole = Stream::open(&server).await?;
    whole.created(WatchCreateRequest { start_revision: 3, prev_kv: true, ..prefix("k", "l") }).await?;
    let response = whole.next().await?;
    assert_eq!((changes(&response.events).len(), response.fragment), (2, false));
    assert!(response.encoded_len() > 2 << 20);
    Ok(())
}
