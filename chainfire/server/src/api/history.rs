use std::pin::Pin;

use chainfire_core::kv::{self, Keys, PartLimit, Revision, VersionsOf, VersionsPart};
use futures::{Stream, stream};
use holdfast_proto::{
    chainfire::{
        RangeAtRequest, RevisionAtRequest, RevisionAtResponse, VersionsRequest, VersionsResponse,
        history_server::History,
    },
    etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader, kv_server::Kv as _},
};
use iam_client::KeyAccess;
use tonic::{Request, Response, Status};

use super::{Etcd, caller::Caller};
use crate::{Error, wire};

/// The past of keys, which etcd's API shows only revision by revision.
#[tonic::async_trait]
impl History for Etcd {
    type VersionsStream = Pin<Box<dyn Stream<Item = Result<VersionsResponse, Status>> + Send>>;

    async fn versions(&self, request: Request<VersionsRequest>) -> Result<Response<Self::VersionsStream>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        if request.key.is_empty() {
            return Err(Error::EmptyKey.into());
        }
        self.store.barrier().await.map_err(Error::from)?;
        self.store.check_sound()?;
        self.permit_keys(&caller, KeyAccess::Read, &Keys::One(request.key.clone()))?;
        let newest = self.store.revision()?;
        let left = u64::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(u64::MAX);
        let first = wire::versions_of(request, newest);
        let parts = Parts { etcd: self.clone(), caller, header: self.header(newest), left };
        let versions = stream::try_unfold((parts, Some(first)), |(mut parts, next)| async {
            let Some(ask) = next else { return Ok(None) };
            let (part, next) = parts.next(ask).await?;
            Ok::<_, Status>(Some((part, (parts, next))))
        });
        Ok(Response::new(Box::pin(versions)))
    }

    async fn revision_at(&self, request: Request<RevisionAtRequest>) -> Result<Response<RevisionAtResponse>, Status> {
        self.store.barrier().await.map_err(Error::from)?;
        let time_ms = request.into_inner().time_ms;
        let (revision, made, current) = self
            .read(false, move |read| {
                let revision = kv::revision_at(read, unix(time_ms))?;
                Ok((revision, kv::time_of(read, revision)?, kv::current_revision(read)?))
            })
            .await?;
        let header = Some(self.header(current));
        Ok(Response::new(RevisionAtResponse { header, revision: revision.0, time_ms: wire::time(made) }))
    }

    async fn range_at(&self, request: Request<RangeAtRequest>) -> Result<Response<RangeResponse>, Status> {
        let (metadata, extensions, RangeAtRequest { time_ms, range }) = request.into_parts();
        let range = range.unwrap_or_default();
        if !range.serializable {
            self.store.barrier().await.map_err(Error::from)?;
        }
        let revision = self.read(false, move |read| Ok(kv::revision_at(read, unix(time_ms))?)).await?;
        let range = RangeRequest { revision: revision.0, ..range };
        self.range(Request::from_parts(metadata, extensions, range)).await
    }
}

/// What one part of a history has at most.
const PART: PartLimit = PartLimit { items: 1_000, bytes: 1 << 20 };

/// A key's history on its way to the client, read part by part as the client takes them.
struct Parts {
    etcd: Etcd,
    caller: Caller,
    header: ResponseHeader,
    /// Versions that may still be told.
    left: u64,
}

impl Parts {
    /// The next part, and what to ask for after it.
    async fn next(&mut self, ask: VersionsOf) -> Result<(VersionsResponse, Option<VersionsOf>), Error> {
        // The stream may outlive the right to it.
        let caller = self.etcd.as_of_now(&self.caller)?;
        let items = PART.items.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let limit = PartLimit { items, ..PART };
        let etcd = self.etcd.clone();
        let read = move |read: &dyn holdfast_keyspace::Read| {
            etcd.permit_in(read, &caller, |permit| permit.keys(KeyAccess::Read, &Keys::One(ask.key.clone())))?;
            Ok((kv::versions(read, &ask, limit)?, kv::compacted_revision(read)?))
        };
        let (VersionsPart { versions, rest }, compacted) = self.etcd.read(false, read).await?;
        self.left -= versions.len() as u64;
        let compact_revision = compacted.map_or(0, |Revision(compacted)| compacted);
        let versions = versions.into_iter().map(wire::version).collect();
        let part = VersionsResponse { header: Some(self.header), versions, compact_revision };
        Ok((part, rest.filter(|_| self.left > 0)))
    }
}

/// Before 1970 nothing was written.
fn unix(time_ms: i64) -> u64 {
    u64::try_from(time_ms).unwrap_or(0)
}
