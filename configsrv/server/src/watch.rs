//! Streams of versions, which may outlive what established their callers.

use std::time::Duration;

use holdfast_proto::configsrv::WatchResponse;
use iam_client::{Identity, Refusal};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tonic::Status;

use crate::{ConfigService, Error, wire};

/// How soon a stream ends after its caller does.
const RECHECK: Duration = Duration::from_secs(1);

/// Tells the current version and each later one until the caller goes, or may not go on.
pub(crate) async fn tell(service: ConfigService, caller: Identity, told: mpsc::Sender<Result<WatchResponse, Status>>) {
    let mut versions = service.versions();
    versions.mark_changed();
    let mut rounds = interval_at(Instant::now() + RECHECK, RECHECK);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let said = tokio::select! {
            () = told.closed() => return,
            _ = rounds.tick() => match service.still_holds(&caller) {
                Err(refusal @ (Refusal::Anonymous | Refusal::Unauthenticated | Refusal::Denied { .. })) => {
                    Err(holdfast_rpc::Error::from(Error::from(refusal)).into())
                }
                // A server that cannot tell at the moment looks again in the next round.
                Ok(()) | Err(Refusal::SlowDown { .. } | Refusal::Unavailable(_)) => continue,
            },
            changed = versions.changed() => match changed {
                Ok(()) => Ok(wire::watched(*versions.borrow_and_update())),
                Err(_) => return,
            },
        };
        let over = said.is_err();
        if told.send(said).await.is_err() || over {
            return;
        }
    }
}
