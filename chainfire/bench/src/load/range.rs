use anyhow::Result;
use bytes::Bytes;
use holdfast_proto::etcdserverpb::{RangeRequest, kv_client::KvClient};
use tonic::Status;

use super::{
    Client, Window, closed_loop,
    keys::{Dice, SPACE, key},
};
use crate::{
    door::{Doors, Wire},
    figures::Figures,
};

struct Reader {
    kv: KvClient<Wire>,
    dice: Dice,
    keys: usize,
    linearizable: bool,
}

impl Client for Reader {
    async fn ask(&mut self) -> Result<(), Status> {
        let first = self.dice.below(SPACE - self.keys);
        let range_end = if self.keys == 1 { Bytes::new() } else { key(first + self.keys) };
        let request =
            RangeRequest { key: key(first), range_end, serializable: !self.linearizable, ..Default::default() };
        let found = self.kv.range(request).await?.into_inner();
        if found.kvs.len() == self.keys { Ok(()) } else { Err(Status::data_loss("keys are missing")) }
    }
}

/// Needs a store that is filled.
pub(crate) async fn range(
    doors: &Doors,
    clients: usize,
    keys: usize,
    linearizable: bool,
    window: Window,
) -> Result<Figures> {
    let reader = |number| Reader { kv: doors.kv(number), dice: Dice::new(number as u64), keys, linearizable };
    closed_loop((0..clients).map(reader).collect(), window).await
}
