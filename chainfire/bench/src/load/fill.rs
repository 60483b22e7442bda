use anyhow::Result;
use holdfast_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request};
use tokio::task::JoinSet;

use super::keys::{SPACE, Values, key};
use crate::door::{Doors, Entrance};

/// Puts in one transaction: etcd's limit is 128.
const AT_ONCE: usize = 100;

/// Bytes of values in one transaction. Larger ones do not fill faster, and a log that is cut by the number of its
/// entries, as etcd's, would keep much of them in memory.
const BATCH: usize = 64 << 10;

/// Puts the keys `0..count`, many in a transaction.
pub(crate) async fn fill(entrance: &Entrance, count: usize, bytes: usize) -> Result<()> {
    let at_once = (BATCH / bytes.max(1)).clamp(1, AT_ONCE);
    Filling { count, keys: count, at_once, writers: 8 }.run(entrance, bytes).await
}

/// Makes `count` revisions, each of which puts a key that ranges find.
pub(super) async fn revise(entrance: &Entrance, count: usize, bytes: usize) -> Result<()> {
    // Each transaction waits for the disk with little in it, so many have to wait together.
    Filling { count, keys: SPACE, at_once: 1, writers: 256 }.run(entrance, bytes).await
}

/// `count` puts that go round the `keys`.
#[derive(Clone, Copy, Debug)]
struct Filling {
    count: usize,
    keys: usize,
    /// Puts in one transaction.
    at_once: usize,
    /// Transactions under way at a time.
    writers: usize,
}

impl Filling {
    async fn run(self, entrance: &Entrance, bytes: usize) -> Result<()> {
        let doors = Doors::open(entrance, self.writers).await?;
        let values = Values::new(bytes);
        let mut writing = JoinSet::new();
        for writer in 0..self.writers {
            let (mut kv, values) = (doors.kv(writer), values.clone());
            writing.spawn(async move {
                for start in (writer * self.at_once..self.count).step_by(self.writers * self.at_once) {
                    let success = (start..self.count.min(start + self.at_once)).map(|number| self.put(number, &values));
                    kv.txn(TxnRequest { success: success.collect(), ..Default::default() }).await?;
                }
                Ok::<_, tonic::Status>(())
            });
        }
        while let Some(done) = writing.join_next().await {
            done??;
        }
        Ok(())
    }

    fn put(self, number: usize, values: &Values) -> RequestOp {
        let put = PutRequest { key: key(number % self.keys), value: values.of(number), ..Default::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    }
}
