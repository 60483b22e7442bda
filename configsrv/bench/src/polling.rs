use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_bench::{Plane, busy, memory};
use serde::Serialize;
use tokio::{task::JoinSet, time::sleep_until};

use crate::{
    crew::Crew,
    node::{Answer, Node},
    took::Took,
};

/// How a node comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// With a connection for each look, as a program that a timer starts.
    Anew,
    /// On the connection on which it waits for revocations, as `flor agent run`.
    Staying,
}

/// What it takes to tell every node now and then that there is nothing new.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Polling {
    pub(crate) nodes: usize,
    pub(crate) looks: Took,
    pub(crate) per_second: f64,
    /// Percent of one processor that each server computed.
    pub(crate) processor: Vec<f64>,
    /// Bytes of each server, with the connections that are open then.
    pub(crate) memory: Vec<u64>,
}

/// Every node looks once in `interval`, evenly spread, for `polled`.
pub(crate) async fn measure(
    plane: &Plane,
    crew: &mut Crew,
    way: Way,
    interval: Duration,
    polled: Duration,
) -> Result<Polling> {
    let ids = (0..plane.count()).map(|at| plane.process(at)).collect::<Result<Vec<_>>>()?;
    let before = ids.iter().map(|id| busy(*id)).collect::<Result<Vec<_>>>()?;
    let (begun, count) = (Instant::now(), crew.nodes.len());
    let mut tasks = JoinSet::new();
    for (number, node) in crew.nodes.drain(..).enumerate() {
        let first = interval.mul_f64(number as f64 / count as f64);
        tasks.spawn(poll(node, way, begun + first, interval, begun + polled));
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (node, looks) = ended??;
        crew.nodes.push(node);
        all.extend(looks);
    }
    let elapsed = begun.elapsed();
    let processor = ids.iter().zip(before).map(|(id, before)| {
        let computed = busy(*id)?.saturating_sub(before);
        Ok(100.0 * computed.as_secs_f64() / elapsed.as_secs_f64())
    });
    let per_second = all.len() as f64 / elapsed.as_secs_f64();
    Ok(Polling {
        nodes: count,
        looks: Took::of(all)?,
        per_second,
        processor: processor.collect::<Result<_>>()?,
        memory: ids.iter().map(|id| memory(*id)).collect::<Result<_>>()?,
    })
}

async fn poll(
    mut node: Node,
    way: Way,
    first: Instant,
    interval: Duration,
    end: Instant,
) -> Result<(Node, Vec<Duration>)> {
    let (mut at, mut looks) = (first, Vec::new());
    while at < end {
        sleep_until(at.into()).await;
        let begun = Instant::now();
        ensure!(node.look().await? == Answer::Nothing, "a node was served what it has");
        looks.push(begun.elapsed());
        match way {
            Way::Anew => node.leave(),
            Way::Staying => node.follow_revocations().await?,
        }
        at += interval;
    }
    Ok((node, looks))
}
