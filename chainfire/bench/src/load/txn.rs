use anyhow::Result;
use bytes::Bytes;
use holdfast_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    kv_client::KvClient,
    request_op::Request,
};
use tonic::Status;

use super::{
    Client, Window, closed_loop,
    keys::{Dice, SPACE, key, value},
};
use crate::{
    door::{Doors, Wire},
    figures::Figures,
};

struct Updater {
    kv: KvClient<Wire>,
    dice: Dice,
    value: Bytes,
}

impl Client for Updater {
    async fn ask(&mut self) -> Result<(), Status> {
        let key = key(self.dice.below(SPACE));
        let exists = Compare {
            key: key.clone(),
            target: CompareTarget::Version.into(),
            result: CompareResult::Greater.into(),
            target_union: Some(TargetUnion::Version(0)),
            ..Default::default()
        };
        let op = |request| RequestOp { request: Some(request) };
        let get = op(Request::RequestRange(RangeRequest { key: key.clone(), ..Default::default() }));
        let put = op(Request::RequestPut(PutRequest { key, value: self.value.clone(), ..Default::default() }));
        let request = TxnRequest { compare: vec![exists], success: vec![put, get.clone()], failure: vec![get] };
        self.kv.txn(request).await.map(drop)
    }
}

/// Needs a store that is filled.
pub(crate) async fn txn(doors: &Doors, clients: usize, bytes: usize, window: Window) -> Result<Figures> {
    let value = value(bytes);
    let updater = |number| Updater { kv: doors.kv(number), dice: Dice::new(number as u64), value: value.clone() };
    closed_loop((0..clients).map(updater).collect(), window).await
}
