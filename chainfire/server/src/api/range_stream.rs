use std::pin::Pin;

use chainfire_core::kv::{self, KeyValue, Keys, PartLimit, Range, RangeAnswer, RangePart, Revision};
use futures::{Stream, stream};
use holdfast_proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use tonic::{Request, Response, Status};

use super::{Etcd, caller::Caller};
use crate::{Error, wire};

pub(super) type RangeParts = Pin<Box<dyn Stream<Item = Result<RangeStreamResponse, Status>> + Send>>;

/// Pairs of the first part: a client that wants little is answered soon.
const FIRST: usize = 10;

/// A range on its way to the client. A part is read only when the client has room for it, so that an answer takes no
/// more memory than its largest part. Nothing is held between two parts: if the revision is compacted meanwhile, the
/// stream ends with that error.
struct Parts {
    etcd: Etcd,
    caller: Caller,
    range: Range,
    /// What is not sent yet.
    rest: Keys,
    /// The revision that all parts are of.
    at: Revision,
    /// The store's, when the first part was read.
    revision: Revision,
    sent: u64,
    items: usize,
}

/// One part, and whether others follow.
struct Read {
    part: RangePart,
    /// Of all pairs in the range; counted for the last part only.
    count: Option<u64>,
}

impl Etcd {
    pub(super) async fn range_parts(&self, request: Request<RangeRequest>) -> Result<Response<RangeParts>, Status> {
        let (_, extensions, request) = request.into_parts();
        let caller = Caller::of(&extensions);
        let serializable = request.serializable;
        let range = wire::range_stream(request)?;
        self.metrics.range.inc();
        if !serializable {
            self.store.barrier().await.map_err(Error::from)?;
        }
        self.store.check_sound()?;
        if range.count_only {
            let etcd = self.clone();
            let counting = move |read: &dyn holdfast_keyspace::Read| {
                etcd.permit_in(read, &caller, |permit| permit.range(&range))?;
                Ok(kv::range(read, &range, &mut |_| true)?)
            };
            let answer = self.read(false, counting).await?;
            let only = part(wire::range_response(self.header(answer.revision), answer));
            return Ok(Response::new(Box::pin(stream::iter([Ok(only)]))));
        }
        // Who may not read at all is told before there is a stream.
        self.permit(&caller, |permit| permit.range(&range))?;
        // A part at a time is in memory.
        let mut hold = self.memory.answers.hold(&extensions);
        if !hold.add(self.store.limits().request_bytes) {
            return Err(Error::TooManyRequests.into());
        }
        let revision = self.store.revision()?;
        let (rest, at) = (range.keys.clone(), range.at.unwrap_or(revision));
        let parts = Parts { etcd: self.clone(), caller, range, rest, at, revision, sent: 0, items: FIRST };
        let parts: RangeParts = Box::pin(stream::try_unfold(Some(parts), |parts| async {
            let Some(mut parts) = parts else { return Ok(None) };
            let (next, last) = parts.next().await?;
            Ok::<_, Status>(Some((next, (!last).then_some(parts))))
        }));
        Ok(hold.until_sent(parts))
    }
}

impl Parts {
    /// The next part, and whether it is the last.
    async fn next(&mut self) -> Result<(RangeStreamResponse, bool), Error> {
        // The stream may outlive the right to it.
        let caller = self.etcd.as_of_now(&self.caller)?;
        let left = match self.range.limit {
            0 => u64::MAX,
            limit => limit - self.sent,
        };
        let Read { part: RangePart { kvs, rest }, count } = self.read(caller, left).await?;
        self.sent += kvs.len() as u64;
        if let Some(left) = count {
            let answer = RangeAnswer { revision: self.revision, kvs, more: rest.is_some(), count: self.sent + left };
            return Ok((part(wire::range_response(self.etcd.header(self.revision), answer)), true));
        }
        self.adapt(size(&kvs));
        if let Some(rest) = rest {
            self.rest = rest;
        }
        Ok((part(wire::pairs(kvs)), false))
    }

    async fn read(&self, caller: Caller, left: u64) -> Result<Read, Error> {
        let (rest, at, keys_only) = (self.rest.clone(), self.at, self.range.keys_only);
        let items = self.items.min(usize::try_from(left).unwrap_or(usize::MAX));
        // A part is a message: the pairs before it tell how many fit in, and this stops those that are all larger.
        let limit = PartLimit { items, bytes: self.etcd.store.limits().request_bytes };
        let (etcd, range) = (self.etcd.clone(), self.range.clone());
        let read = move |read: &dyn holdfast_keyspace::Read| {
            etcd.permit_in(read, &caller, |permit| permit.range(&range))?;
            let part = kv::range_part(read, &rest, at, limit, keys_only)?;
            let full = part.kvs.len() as u64 >= left;
            let count = match &part.rest {
                None => Some(0),
                Some(rest) if full => Some(count(read, rest.clone(), at)?),
                Some(_) => None,
            };
            Ok(Read { part, count })
        };
        self.etcd.read(false, read).await
    }

    /// Keeps parts near the size of the largest request.
    fn adapt(&mut self, size: usize) {
        let target = self.etcd.store.limits().request_bytes;
        if size < target / 2 {
            self.items = self.items.saturating_mul(2);
        } else if size >= target {
            self.items = (self.items / 2).max(1);
        }
    }
}

fn count(read: &dyn holdfast_keyspace::Read, keys: Keys, at: Revision) -> Result<u64, Error> {
    Ok(kv::range(read, &Range { at: Some(at), count_only: true, ..Range::of(keys) }, &mut |_| true)?.count)
}

fn size(kvs: &[KeyValue]) -> usize {
    kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum()
}

fn part(response: RangeResponse) -> RangeStreamResponse {
    RangeStreamResponse { range_response: Some(response) }
}
