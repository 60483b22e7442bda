use std::time::{Duration, Instant};

use anyhow::Result;
use holdfast_proto::etcdserverpb::RangeRequest;
use holdfast_testkit::eventually;

use super::{fill, keys::key};
use crate::{
    door::{Doors, Entrance},
    figures::{Figures, Outcome},
    subject::Subject,
};

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

/// Fills the servers and starts them again. The rate is that of the filling; memory is that of the servers that were
/// filled, before they start again.
pub(crate) async fn start(subject: &mut Subject, keys: usize, bytes: usize) -> Result<Figures> {
    let begun = Instant::now();
    fill(&subject.entrance, keys, bytes).await?;
    let per_second = keys as f64 / begun.elapsed().as_secs_f64();
    let memory = subject.memory()?;
    let took = subject.restart().await?.as_secs_f64() * 1_000.0;
    let outcome = Some(Outcome::Start(took));
    Ok(Figures { per_second, operations: keys as u64, memory, outcome, ..Figures::default() })
}
