use configsrv_fleet::Sequence;
use holdfast_service::Stop;
use tokio::time::{Instant, sleep};

use super::Lane;
use crate::{
    autosync::{Ended, Mode, Schedule},
    home::Layout,
};

/// Follows the lane until `stop`, whatever this daemon's syncs are like.
pub(crate) async fn run(lane: Lane, layout: Layout, stop: Stop) {
    let mut schedule = Schedule::new(Mode::Watch, lane.node());
    let (mut told, mut trouble) = (Sequence::NONE, None);
    loop {
        let begun = Instant::now();
        let looked = tokio::select! {
            () = stop.requested() => return,
            looked = lane.look(&layout, schedule.patience()) => looked,
        };
        let ended = match &looked {
            Ok(true) => Ended::Done,
            Ok(false) => Ended::Same,
            Err(_) => Ended::Failed,
        };
        let now = looked.err().map(|error| error.to_string());
        if let Some(reason) = now.as_ref().filter(|_| now != trouble) {
            tracing::warn!(reason, "revocations are not followed");
        }
        trouble = now;
        told = tell(&lane, told).await;
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(schedule.next(&ended, begun.elapsed(), None)) => {}
        }
    }
}

/// The servers are told of each sequence until they have heard it.
async fn tell(lane: &Lane, told: Sequence) -> Sequence {
    lane.tell(told).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the servers were not told which revocations count here");
        told
    })
}
