use std::sync::Arc;

use bytes::Bytes;
use chainfire_core::kv::{Event, Keys, Revision};
use holdfast_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, RangeRequest, RangeResponse, ResponseHeader,
    TxnRequest, TxnResponse, kv_server::Kv as _, lease_server::Lease as _,
};
use iam_client::KeyAccess;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Extensions, Request, Status, metadata::MetadataMap};

use crate::{
    Error,
    api::{Etcd, caller::Caller, rights},
    watch::{Filters, Order, Sender, Told, WatchId, Watcher},
};

/// The time to live of a session that the server makes, in seconds. Nobody keeps it alive.
const SESSION_TTL: i64 = 60;

/// The caller's calls, made from inside the server.
#[derive(Clone)]
pub(super) struct Inside {
    pub(super) etcd: Etcd,
    caller: Caller,
    metadata: MetadataMap,
    extensions: Extensions,
}

/// A watch that the server reads itself.
pub(super) struct Lookout {
    sender: Sender,
    _judged: AbortOnDropHandle<()>,
}

/// What a [`Lookout`] saw.
pub(super) enum Seen {
    /// Of one or more revisions, in order; `header` has the newest.
    Events { events: Vec<Event>, header: ResponseHeader },
    /// The revisions that it was to see are compacted: look at the present.
    Compacted,
}

impl Inside {
    pub(super) fn of<T>(etcd: &Etcd, request: &Request<T>) -> Self {
        let (metadata, extensions) = (request.metadata().clone(), request.extensions().clone());
        Self { etcd: etcd.clone(), caller: Caller::of(&extensions), metadata, extensions }
    }

    /// A call of now: the caller may have waited for long.
    fn request<T>(&self, message: T) -> Result<Request<T>, Error> {
        let mut extensions = self.extensions.clone();
        extensions.insert(self.etcd.as_of_now(&self.caller)?.session());
        Ok(Request::from_parts(self.metadata.clone(), extensions, message))
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        Ok(self.etcd.range(self.request(request)?).await?.into_inner())
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        Ok(self.etcd.txn(self.request(request)?).await?.into_inner())
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<DeleteRangeResponse, Status> {
        let request = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
        Ok(self.etcd.delete_range(self.request(request)?).await?.into_inner())
    }

    /// The lease that the caller named, or one of the server's own where it named none.
    pub(super) async fn session(&self, lease: i64) -> Result<i64, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        let request = LeaseGrantRequest { ttl: SESSION_TTL, id: 0 };
        Ok(self.etcd.lease_grant(self.request(request)?).await?.into_inner().id)
    }

    /// Watches `keys` from `start` on, as long as the caller may read them.
    pub(super) fn watch(&self, keys: Keys, start: Revision) -> Result<Lookout, Error> {
        let caller = self.etcd.as_of_now(&self.caller)?;
        self.etcd.permit_keys(&caller, KeyAccess::Read, &keys)?;
        let subscription = Arc::new(self.etcd.hub.subscribe());
        let watcher = Watcher {
            id: WatchId::NONE,
            keys,
            start,
            future: false,
            filters: Filters::default(),
            prev_kv: false,
            fragment: false,
            progress_notify: false,
        };
        let order = Order { id: None, start: Some(start), watcher };
        // The only watcher of its stream has an id that no other has.
        let _ = subscription.create(order, self.etcd.store.revision()?);
        let sender = Sender::new(subscription.clone(), self.etcd.store.clone());
        let etcd = self.etcd.clone();
        let judged = tokio::spawn(async move { rights::watch_over(&etcd, &caller, &subscription).await });
        Ok(Lookout { sender, _judged: AbortOnDropHandle::new(judged) })
    }
}

impl Lookout {
    pub(super) async fn next(&mut self, inside: &Inside) -> Result<Seen, Error> {
        loop {
            match self.sender.next().await.ok_or(Error::WatchCanceled)?? {
                Told::Events { events, revision, .. } => {
                    return Ok(Seen::Events { events, header: inside.etcd.header(revision) });
                }
                Told::Overtaken { .. } => return Ok(Seen::Compacted),
                Told::Refused { reason, .. } => return Err(Error::Storage(reason)),
                Told::Created { .. } | Told::Canceled { .. } | Told::Progress { .. } => {}
            }
        }
    }
}
