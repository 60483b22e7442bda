use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pgwire::{
    api::cancel::CancelHandler,
    messages::{cancel::CancelRequest, startup::SecretKey},
};
use tokio::sync::Notify;

/// A session's number and secret.
type Key = (i32, Bytes);

/// Which sessions can be told to end their statement: whoever knows a session's number and secret.
#[derive(Clone, Default)]
pub(super) struct Cancellations {
    sessions: Arc<Mutex<HashMap<Key, Arc<Notify>>>>,
}

/// A session's entry; dropping it takes it out.
pub(super) struct Cancelled {
    all: Cancellations,
    key: Key,
    notify: Arc<Notify>,
}

impl Cancellations {
    pub(super) fn register(&self, number: i32, secret: &SecretKey) -> Cancelled {
        let (key, notify) = ((number, secret.to_bytes()), Arc::new(Notify::new()));
        self.sessions.lock().insert(key.clone(), notify.clone());
        Cancelled { all: self.clone(), key, notify }
    }
}

impl Cancelled {
    /// Wakes who waits for it at the moment of the request; a request between statements has no effect.
    pub(super) fn notify(&self) -> Arc<Notify> {
        self.notify.clone()
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.all.sessions.lock().remove(&self.key);
    }
}

#[async_trait]
impl CancelHandler for Cancellations {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let found = self.sessions.lock().get(&(request.pid, request.secret_key.to_bytes())).cloned();
        if let Some(notify) = found {
            notify.notify_waiters();
        }
    }
}
