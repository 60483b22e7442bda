use anyhow::Result;
use bytes::Bytes;
use holdfast_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request};

use crate::door::Doors;

/// Keys that puts choose from, and that ranges find.
pub(super) const SPACE: usize = 100_000;

/// Puts in one transaction when a store is filled: etcd's limit is 128.
const AT_ONCE: usize = 100;

/// Transactions under way at a time when a store is filled.
const WRITERS: usize = 8;

pub(super) fn key(number: usize) -> Bytes {
    format!("bench/{number:010}").into()
}

/// Bytes that do not compress to nothing.
pub(super) fn value(bytes: usize) -> Bytes {
    let mut dice = Dice::new(bytes as u64);
    (0..bytes).map(|_| dice.below(256) as u8).collect()
}

/// xorshift64*: enough for choosing keys.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) * bound as u128) >> 64) as usize
    }
}

/// Puts the keys `0..count`.
pub(crate) async fn fill(doors: &Doors, count: usize, bytes: usize) -> Result<()> {
    let value = value(bytes);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (mut kv, value) = (doors.kv(writer), value.clone());
        writers.spawn(async move {
            for start in (writer * AT_ONCE..count).step_by(WRITERS * AT_ONCE) {
                let put = |number| {
                    Request::RequestPut(PutRequest { key: key(number), value: value.clone(), ..Default::default() })
                };
                let success =
                    (start..count.min(start + AT_ONCE)).map(|number| RequestOp { request: Some(put(number)) });
                kv.txn(TxnRequest { success: success.collect(), ..Default::default() }).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_reach_every_face() {
        let mut dice = Dice::new(0);
        let mut faces = [0; 6];
        (0..6_000).for_each(|_| faces[dice.below(6)] += 1);
        assert!(faces.iter().all(|times| (800..1_200).contains(times)), "{faces:?}");
    }

    #[test]
    fn keys_sort_by_number() {
        assert!(key(9) < key(10) && key(99_999) < key(100_000));
        assert_eq!(value(256).len(), 256);
    }
}
