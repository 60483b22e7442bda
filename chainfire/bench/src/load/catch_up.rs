use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use holdfast_proto::etcdserverpb::{RangeRequest, WatchCreateRequest};

use super::{
    Window,
    fill::revise,
    keys::{END, key},
    put, watchers,
};
use crate::{
    door::{Doors, Entrance},
    figures::{Figures, Outcome},
};

/// The revisions that a watcher is behind.
#[derive(Clone, Copy, Debug)]
struct Backlog {
    first: i64,
    last: i64,
}

/// Clients put, and meanwhile a watcher catches up on `revisions` that were made before. The same puts without a watcher
/// are measured before and after, since a store that grows changes its pace.
pub(crate) async fn catch_up(
    entrance: &Entrance,
    clients: usize,
    revisions: usize,
    bytes: usize,
    measured: Duration,
) -> Result<Figures> {
    let doors = Doors::open(entrance, clients).await?;
    let before = revision(&doors).await?;
    revise(entrance, revisions, bytes).await?;
    let backlog = Backlog { first: before + 1, last: revision(&doors).await? };
    let puts = async |window| put(&doors, clients, bytes, window).await;

    let first = puts(Window::open(measured)).await?;
    let window = Window::open(measured);
    // A connection that no writer shares.
    let watcher = tokio::spawn(watch(Doors::open(entrance, 1).await?, backlog, window));
    let beside = puts(window).await?;
    let events = watcher.await?? as f64 / measured.as_secs_f64();
    let second = puts(Window::open(measured)).await?;

    let alone = f64::midpoint(first.per_second, second.per_second);
    Ok(Figures { outcome: Some(Outcome::CatchUp { alone, beside: beside.per_second, events }), ..beside })
}

async fn revision(doors: &Doors) -> Result<i64> {
    let answer = doors.kv(0).range(RangeRequest { key: key(0), ..Default::default() }).await?.into_inner();
    Ok(answer.header.context("an answer without a header")?.revision)
}

/// Catches up on the backlog, again and again as long as the window is open, so that there is always a watcher that is
/// behind; how many events arrived while the window counts.
async fn watch(doors: Doors, backlog: Backlog, window: Window) -> Result<u64> {
    let behind =
        WatchCreateRequest { key: key(0), range_end: END, start_revision: backlog.first, ..Default::default() };
    let mut events = 0;
    while Instant::now() < window.until {
        let mut streams = watchers::open(&doors, 1, |_| behind.clone()).await?;
        let stream = streams.first_mut().context("no watch stream")?;
        let mut reached = backlog.first;
        while reached < backlog.last {
            let Ok(response) = tokio::time::timeout_at(window.until.into(), stream.responses.message()).await else {
                return Ok(events);
            };
            let response = response?.context("a watch stream ended")?;
            if window.counts(Instant::now()) {
                events += response.events.len() as u64;
            }
            let newest = response.events.last().and_then(|event| event.kv.as_ref());
            reached = newest.map_or(reached, |pair| pair.mod_revision);
        }
    }
    Ok(events)
}
