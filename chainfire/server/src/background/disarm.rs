use std::{sync::Arc, time::Duration};

use chainfire_core::{
    Origin,
    alarm::{Alarm, AlarmKind},
};
use holdfast_service::Stop;
use tokio::time::sleep;

use crate::{Error, request::request_id, store::Store};

const CHECK: Duration = Duration::from_secs(1);

/// Takes back this member's alarm for a reached quota when a tenth of the quota is free again, so that it is not raised
/// by the next write.
pub(crate) async fn disarm(store: Arc<Store>, stop: Stop) {
    let alarm = Alarm { member: store.own().0, kind: AlarmKind::NoSpace };
    let mut alarms = store.machine().alarms();
    loop {
        let raised = tokio::select! {
            () = stop.requested() => return,
            raised = alarms.wait_for(|active| active.contains(&alarm)) => raised.is_ok(),
        };
        if !raised {
            return;
        }
        match recover(&store, alarm).await {
            Ok(true) => tracing::info!("there is room again: the alarm for the reached quota is taken back"),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "the alarm for the reached quota is not taken back"),
        }
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(CHECK) => {}
        }
    }
}

async fn recover(store: &Store, alarm: Alarm) -> Result<bool, Error> {
    let room = match store.limits().quota_bytes {
        Some(quota) => store.usage()?.used < quota - quota / 10,
        None => true,
    };
    if !room {
        return Ok(false);
    }
    Ok(store.clear(Origin::system("quota", request_id()), alarm).await?.is_some())
}
