//! A server that does nothing: it answers at once and keeps nothing. What clients measure of it is the ceiling of the
//! client and the RPC layer, which no store behind them passes.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use holdfast_proto::{
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
        RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse,
        kv_server::{Kv, KvServer},
    },
    mvccpb::KeyValue,
};
use tonic::{Request, Response, Status, transport::Server};

use crate::{course::FILLED_BYTES, load::keys_between};

/// Serves until the process is ended.
pub(crate) async fn serve(listen: SocketAddr) -> Result<()> {
    let nothing = Nothing { value: vec![7; FILLED_BYTES].into() };
    Server::builder().tcp_nodelay(true).add_service(KvServer::new(nothing)).serve(listen).await?;
    Ok(())
}

struct Nothing {
    value: Bytes,
}

#[tonic::async_trait]
impl Kv for Nothing {
    /// As many pairs as a filled store has there, since what they weigh on the wire is part of the ceiling.
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let RangeRequest { key, range_end, .. } = request.into_inner();
        let pair = KeyValue { value: self.value.clone(), key: key.clone(), ..Default::default() };
        let kvs = vec![pair; keys_between(&key, &range_end)];
        Ok(Response::new(RangeResponse { count: kvs.len() as i64, kvs, ..Default::default() }))
    }

    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(PutResponse::default()))
    }

    async fn txn(&self, _: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        Ok(Response::new(TxnResponse::default()))
    }

    async fn delete_range(&self, _: Request<DeleteRangeRequest>) -> Result<Response<DeleteRangeResponse>, Status> {
        Ok(Response::new(DeleteRangeResponse::default()))
    }

    async fn compact(&self, _: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        Ok(Response::new(CompactionResponse::default()))
    }

    type RangeStreamStream = tokio_stream::Empty<Result<RangeStreamResponse, Status>>;

    async fn range_stream(&self, _: Request<RangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}
