use anyhow::Result;
use bytes::Bytes;
use holdfast_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request};
use tokio::task::JoinSet;

use super::keys::{SPACE, key, value};
use crate::door::{Doors, Entrance};

/// Puts in one transaction: etcd's limit is 128.
const AT_ONCE: usize = 100;

/// Bytes of values in one transaction. Larger ones do not fill faster, and a log that is cut by the number of its
/// entries, as etcd's, would keep much of them in memory.
const BATCH: usize = 64 << 10;

/// Transactions under way at a time when pairs are wanted.
const WRITERS: usize = 8;

/// Transactions under way at a time when revisions are wanted: each waits for the disk with few others in it.
const REVISERS: usize = 256;

/// Puts the keys `0..count`, many in a transaction.
pub(crate) async fn fill(entrance: &Entrance, count: usize, bytes: usize) -> Result<()> {
    let at_once = (BATCH / bytes.max(1)).clamp(1, AT_ONCE);
    let pairs = |writer| Pairs { next: writer * at_once, step: WRITERS * at_once, at_once, keys: count, count };
    write(entrance, (0..WRITERS).map(pairs).collect(), value(bytes)).await
}

/// Makes `count` revisions, each of which puts a key that ranges find.
pub(super) async fn revise(entrance: &Entrance, count: usize, bytes: usize) -> Result<()> {
    let pairs = |writer| Pairs { next: writer, step: REVISERS, at_once: 1, keys: SPACE, count };
    write(entrance, (0..REVISERS).map(pairs).collect(), value(bytes)).await
}

/// What one writer puts: `at_once` numbers from `next` on, then the same `step` further, while they are below `count`.
#[derive(Clone, Copy, Debug)]
struct Pairs {
    next: usize,
    step: usize,
    at_once: usize,
    /// Numbers go round the keys below this.
    keys: usize,
    count: usize,
}

impl Iterator for Pairs {
    type Item = Vec<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next;
        self.next += self.step;
        let numbers = start..self.count.min(start + self.at_once);
        (start < self.count).then(|| numbers.map(|number| key(number % self.keys)).collect())
    }
}

async fn write(entrance: &Entrance, writers: Vec<Pairs>, value: Bytes) -> Result<()> {
    let doors = Doors::open(entrance, writers.len()).await?;
    let mut writing = JoinSet::new();
    for (number, pairs) in writers.into_iter().enumerate() {
        let (mut kv, value) = (doors.kv(number), value.clone());
        writing.spawn(async move {
            for keys in pairs {
                let put = |key| Request::RequestPut(PutRequest { key, value: value.clone(), ..Default::default() });
                let success = keys.into_iter().map(|key| RequestOp { request: Some(put(key)) }).collect();
                kv.txn(TxnRequest { success, ..Default::default() }).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_share_the_numbers() {
        let pairs = |next| Pairs { next, step: 6, at_once: 3, keys: 4, count: 8 };
        let written: Vec<_> = [pairs(0), pairs(3)].into_iter().flatten().collect();
        let keys = |numbers: &[usize]| numbers.iter().map(|number| key(*number)).collect::<Vec<_>>();
        assert_eq!(written, [keys(&[0, 1, 2]), keys(&[2, 3]), keys(&[3, 0, 1])]);
    }
}
