use std::time::{Duration, Instant};

use anyhow::Result;
use holdfast_proto::etcdserverpb::RangeRequest;
use holdfast_testkit::eventually;

use super::keys::key;
use crate::door::{Doors, Entrance};

/// The longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits for a linearizable answer of each member; returns how long after `begun` the last of them came.
pub(crate) async fn first_answer(entrance: &Entrance, begun: Instant) -> Result<Duration> {
    for url in &entrance.urls {
        let one = Entrance { urls: vec![url.clone()], ..entrance.clone() };
        eventually("the first answer", PATIENCE, async || {
            let Ok(doors) = Doors::open(&one, 1).await else { return Ok(None) };
            let asked = doors.kv(0).range(RangeRequest { key: key(0), ..Default::default() }).await;
            Ok(asked.ok().map(drop))
        })
        .await?;
    }
    Ok(begun.elapsed())
}
