use bytes::Bytes;
use holdfast_proto::{
    etcdserverpb::ResponseHeader,
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_server::Lock},
};
use tonic::{Request, Response, Status};

use super::{
    Inside, Line, Place,
    place::found,
    presence::{Absent, attended},
};
use crate::{Error, api::Etcd};

#[tonic::async_trait]
impl Lock for Etcd {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let inside = Inside::of(self, &request);
        let LockRequest { name, lease } = request.into_inner();
        attended(|absent| async move { lock(&inside, &name, lease, absent).await }).await.map(Response::new)
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let inside = Inside::of(self, &request);
        let header = inside.delete(request.into_inner().key).await?.header;
        Ok(Response::new(UnlockResponse { header }))
    }
}

async fn lock(inside: &Inside, name: &[u8], lease: i64, absent: Absent) -> Result<LockResponse, Status> {
    let line = Line::of(name);
    let lease = inside.session(lease).await?;
    let (place, answer) = Place::take(inside, line.key(lease), Bytes::new(), lease, &[line.oldest()]).await?;
    let owner = found(answer.responses.get(1)).map(|oldest| oldest.create_revision);
    let owned = async {
        if owner.is_none_or(|owner| owner == place.revision) {
            return Ok(answer.header);
        }
        line.wait(inside, &place).await?;
        place.held(inside).await?.map(Some).ok_or_else(|| Error::SessionExpired.into())
    };
    let header: Option<ResponseHeader> = absent.or(owned, place.leave(inside)).await?;
    Ok(LockResponse { header, key: place.key.clone() })
}
