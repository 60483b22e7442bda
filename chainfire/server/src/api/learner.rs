//! A member that comes back with a new disk has no vote yet, and may lack what was acknowledged long ago. Until it has
//! its vote, it answers what etcd's learners answer (§1.1): Status, serializable Range and Snapshot.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tonic::Status;

use crate::{Error, store::Store};

const ANSWERED: [&str; 3] =
    ["/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot", "/etcdserverpb.KV/Range"];

/// Refuses what a learner does not answer. Which ranges it does, the handler decides.
pub(super) async fn guard(State(store): State<Arc<Store>>, request: Request, next: Next) -> Response {
    if !ANSWERED.contains(&request.uri().path()) && store.group().is_learner() {
        return Status::from(Error::NotForLearner).into_http();
    }
    next.run(request).await
}
