use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use holdfast_proto::etcdserverpb::{PutRequest, WatchCreateRequest};
use tokio::task::JoinSet;

use super::{Window, watchers};
use crate::{
    door::Doors,
    figures::{Figures, Tally},
};

const KEY: Bytes = Bytes::from_static(b"fan-out");

/// One client puts a key that all watch. What counts is each event that arrives; its latency is the time since the put
/// was sent, which the value carries.
pub(crate) async fn fan_out(doors: &Doors, count: usize, bytes: usize, measured: Duration) -> Result<Figures> {
    let streams = watchers::open(doors, count, |_| WatchCreateRequest { key: KEY, ..Default::default() }).await?;
    let epoch = Instant::now();
    let window = Window::open(measured);
    let mut listening = JoinSet::new();
    for mut stream in streams {
        listening.spawn(async move {
            let mut tally = Tally::new();
            while let Ok(Ok(Some(response))) =
                tokio::time::timeout_at(window.until.into(), stream.responses.message()).await
            {
                let now = Instant::now();
                for sent in response.events.iter().filter_map(|event| sent(epoch, &event.kv.as_ref()?.value)) {
                    if window.counts(sent) {
                        tally.took(now.saturating_duration_since(sent));
                    }
                }
            }
            tally
        });
    }
    let mut kv = doors.kv(0);
    while Instant::now() < window.until {
        let mut value = u64::try_from(epoch.elapsed().as_nanos())?.to_be_bytes().to_vec();
        value.resize(bytes.max(value.len()), 0);
        kv.put(PutRequest { key: KEY, value: value.into(), ..Default::default() }).await?;
    }
    let mut all = Tally::new();
    while let Some(tally) = listening.join_next().await {
        all.merge(&tally?);
    }
    Ok(all.figures(window.length()))
}

/// When the put was sent that wrote this value.
fn sent(epoch: Instant, value: &[u8]) -> Option<Instant> {
    let nanoseconds = u64::from_be_bytes(*value.first_chunk()?);
    epoch.checked_add(Duration::from_nanos(nanoseconds))
}
