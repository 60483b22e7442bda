use chainfire_core::{
    UserAnswer, UserCommand,
    kv::{self, Keys, Revision, Txn, TxnOp},
    lease::LeaseId,
};
use chainfire_raft::View;
use holdfast_keyspace::Read;
use holdfast_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse, kv_server::Kv, request_op,
};
use tonic::{Request, Response, Status};

use super::{Etcd, caller::Caller, range_stream::RangeParts};
use crate::{Error, wire};

#[tonic::async_trait]
impl Kv for Etcd {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let caller = Caller::of(&extensions);
        let serializable = request.serializable;
        if !serializable && self.store.group().is_learner() {
            return Err(Error::NotForLearner.into());
        }
        let range = wire::range(request)?;
        self.metrics.range.inc();
        if !serializable {
            self.store.barrier().await.map_err(Error::from)?;
        }
        self.store.check_sound()?;
        let view = self.store.view();
        self.permit_in(&view, &caller, |permit| permit.range(&range))?;
        let one = matches!(range.keys, Keys::One(_));
        let mut hold = self.memory.answers.hold(&extensions);
        let read = move |read: &dyn Read| Ok((kv::range(read, &range, &mut |bytes| hold.add(bytes))?, hold));
        let (answer, hold) = read_in(view, one, read).await?;
        Ok(hold.until_sent(wire::range_response(self.header(answer.revision), answer)))
    }

    type RangeStreamStream = RangeParts;

    async fn range_stream(&self, request: Request<RangeRequest>) -> Result<Response<RangeParts>, Status> {
        self.range_parts(request).await
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let put = wire::put(request.into_inner())?;
        self.permit_change(&caller, put.lease != LeaseId::NONE, |permit| permit.put(&put)).await?;
        let done = self.store.change(caller.origin(), UserCommand::Put(put)).await?;
        let UserAnswer::Put(answer) = done.answer else { return Err(Error::mismatch().into()) };
        Ok(Response::new(wire::put_response(self.headers().at(answer.revision, done.term), answer)))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let delete = wire::delete_range(request.into_inner())?;
        self.permit_change(&caller, false, |permit| permit.delete(&delete)).await?;
        let done = self.store.change(caller.origin(), UserCommand::DeleteRange(delete)).await?;
        let UserAnswer::DeleteRange(answer) = done.answer else { return Err(Error::mismatch().into()) };
        Ok(Response::new(wire::delete_response(self.headers().at(answer.revision, done.term), answer)))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let caller = Caller::of(&extensions);
        let serializable = all_serializable(&request);
        let txn = wire::txn(request, self.store.limits().txn_ops)?;
        self.metrics.txn.inc();
        if kv::is_read_only(&txn) {
            if !serializable {
                self.store.barrier().await.map_err(Error::from)?;
            }
            self.store.check_sound()?;
            let view = self.store.view();
            self.permit_in(&view, &caller, |permit| permit.txn(&txn))?;
            let mut hold = self.memory.answers.hold(&extensions);
            let read = move |read: &dyn Read| Ok((kv::read_txn(read, &txn, &mut |bytes| hold.add(bytes))?, hold));
            let (answer, hold) = read_in(view, false, read).await?;
            return Ok(hold.until_sent(wire::txn_response(self.header(answer.revision), answer)));
        }
        self.permit_change(&caller, names_lease(&txn), |permit| permit.txn(&txn)).await?;
        let done = self.store.change(caller.origin(), UserCommand::Txn(txn)).await?;
        let UserAnswer::Txn(answer) = done.answer else { return Err(Error::mismatch().into()) };
        Ok(Response::new(wire::txn_response(self.headers().at(answer.revision, done.term), answer)))
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let compact = wire::compact(&request);
        let done = self.store.change(caller.origin(), UserCommand::Compact(compact)).await?;
        let UserAnswer::Compact { revision } = done.answer else { return Err(Error::mismatch().into()) };
        if request.physical {
            self.removed().await?;
        }
        Ok(Response::new(CompactionResponse { header: Some(self.headers().at(revision, done.term)) }))
    }
}

impl Etcd {
    /// Reads from a consistent view of now.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        short: bool,
        read: impl FnOnce(&dyn Read) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        read_in(self.store.view(), short, read).await
    }

    /// Waits until compacted rows are gone from this server.
    async fn removed(&self) -> Result<(), Error> {
        let mut applied = self.store.group().state().applied_changes();
        loop {
            applied.borrow_and_update();
            if !kv::compaction_pending(&self.store.view())? {
                return Ok(());
            }
            applied.changed().await.map_err(|_| Error::Stopped)?;
        }
    }

    pub(super) fn revision_of(&self, read: &dyn Read) -> Result<Revision, Error> {
        Ok(kv::current_revision(read)?)
    }
}

/// Reads from `view`; what is not a single key does so where it cannot hold up other requests.
pub(super) async fn read_in<T: Send + 'static>(
    view: View,
    short: bool,
    read: impl FnOnce(&dyn Read) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if short {
        return read(&view);
    }
    let reading = tokio::task::spawn_blocking(move || read(&view));
    reading.await.map_err(|join| Error::Storage(join.to_string()))?
}

/// Whether a branch of the transaction may hang a key on a lease.
fn names_lease(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Put(put) => put.lease != LeaseId::NONE,
        TxnOp::Txn(inner) => names_lease(inner),
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => false,
    })
}

/// Whether every range of the transaction accepts an old answer, so that the transaction does.
fn all_serializable(txn: &TxnRequest) -> bool {
    let serializable = |op: &RequestOp| match &op.request {
        Some(request_op::Request::RequestRange(range)) => range.serializable,
        Some(
            request_op::Request::RequestPut(_)
            | request_op::Request::RequestDeleteRange(_)
            | request_op::Request::RequestTxn(_),
        )
        | None => false,
    };
    txn.success.iter().chain(&txn.failure).all(serializable)
}
