use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use holdfast_proto::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest, kv_client::KvClient};
use tokio::task::JoinSet;
use tonic::Status;

use super::{
    Client, Window, closed_loop,
    keys::{Dice, key, value},
    watchers,
};
use crate::{
    door::{Doors, Wire},
    figures::Figures,
};

struct Caller {
    kv: KvClient<Wire>,
    dice: Dice,
    value: Bytes,
    watched: usize,
}

impl Client for Caller {
    async fn ask(&mut self) -> Result<(), Status> {
        let key = key(self.dice.below(self.watched));
        if self.dice.below(2) == 0 {
            self.kv.put(PutRequest { key, value: self.value.clone(), ..Default::default() }).await.map(drop)
        } else {
            self.kv.range(RangeRequest { key, ..Default::default() }).await.map(drop)
        }
    }
}

/// Puts and reads of keys each of which has a watcher.
pub(crate) async fn mixed(
    doors: &Doors,
    clients: usize,
    watched: usize,
    bytes: usize,
    measured: std::time::Duration,
) -> Result<Figures> {
    let events = Arc::new(AtomicU64::new(0));
    let mut listening = JoinSet::new();
    let watcher = |number| WatchCreateRequest { key: key(number), ..Default::default() };
    for mut stream in watchers::open(doors, watched, watcher).await? {
        let events = events.clone();
        listening.spawn(async move {
            while let Ok(Some(response)) = stream.responses.message().await {
                events.fetch_add(response.events.len() as u64, Ordering::Relaxed);
            }
        });
    }
    let value = value(bytes);
    let caller =
        |number| Caller { kv: doors.kv(number), dice: Dice::new(number as u64), value: value.clone(), watched };
    let figures = closed_loop((0..clients).map(caller).collect(), Window::open(measured)).await?;
    ensure!(events.load(Ordering::Relaxed) > 0, "the watchers were told nothing");
    Ok(figures)
}
