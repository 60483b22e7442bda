use anyhow::Result;
use bytes::Bytes;
use holdfast_proto::etcdserverpb::{PutRequest, kv_client::KvClient};
use tonic::Status;

use super::{
    Client, Window, closed_loop,
    keys::{Dice, SPACE, key, value},
};
use crate::{
    door::{Doors, Wire},
    figures::Figures,
};

struct Putter {
    kv: KvClient<Wire>,
    dice: Dice,
    value: Bytes,
}

impl Client for Putter {
    async fn ask(&mut self) -> Result<(), Status> {
        let request = PutRequest { key: key(self.dice.below(SPACE)), value: self.value.clone(), ..Default::default() };
        self.kv.put(request).await.map(drop)
    }
}

pub(crate) async fn put(doors: &Doors, clients: usize, bytes: usize, window: Window) -> Result<Figures> {
    let value = value(bytes);
    let putter = |number| Putter { kv: doors.kv(number), dice: Dice::new(number as u64), value: value.clone() };
    closed_loop((0..clients).map(putter).collect(), window).await
}
