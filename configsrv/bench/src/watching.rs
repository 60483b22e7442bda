use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_bench::{Plane, busy, memory};
use serde::Serialize;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    crew::Crew,
    node::{Answer, Node},
    took::Took,
    tree::Trees,
};

/// For so long they come, one after the other: servers have few places for whom they do not know yet.
const COMING: Duration = Duration::from_secs(10);
/// Until the last request has come to where it is held.
const SETTLED: Duration = Duration::from_secs(5);

/// How soon all nodes have a version that is published while they wait.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Watching {
    /// How many waited: fewer than all where servers have no room for all connections.
    pub(crate) nodes: usize,
    /// Bytes of each server while all of them wait.
    pub(crate) memory: Vec<u64>,
    /// From sending the tree to the answer, each time.
    pub(crate) publish: Took,
    /// From the publish, which is its answer or the first node's, whichever came first, to each node's new artifact, whole.
    pub(crate) told: Took,
    /// Seconds of a processor that all servers together computed for one publish, and for telling of it.
    pub(crate) computed: f64,
}

/// Publishes versions after `newest`, so many times.
pub(crate) async fn measure(
    plane: &Plane,
    crew: &mut Crew,
    trees: &Trees,
    newest: u64,
    times: usize,
) -> Result<Watching> {
    let nodes = crew.nodes.len();
    let ids = (0..plane.count()).map(|at| plane.process(at)).collect::<Result<Vec<_>>>()?;
    let computed = || ids.iter().map(|id| busy(*id)).sum::<Result<Duration>>();
    let (mut publishes, mut told, mut spent, mut largest) = (Vec::new(), Vec::new(), Duration::ZERO, Vec::new());
    for version in (newest + 1..).take(times) {
        let body = trees.publish(version)?;
        let mut tasks = JoinSet::new();
        for (number, node) in crew.nodes.drain(..).enumerate() {
            tasks.spawn(wait(node, version, COMING.mul_f64(number as f64 / nodes as f64)));
        }
        sleep(COMING + SETTLED).await;
        largest = ids.iter().map(|id| memory(*id)).collect::<Result<_>>()?;
        let before = computed()?;
        let begun = Instant::now();
        publish(plane, body).await?;
        let answered = Instant::now();
        publishes.push(answered - begun);
        let mut arrivals = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let (node, at) = ended??;
            crew.nodes.push(node);
            arrivals.push(at);
        }
        let published = arrivals.iter().copied().fold(answered, Instant::min);
        told.extend(arrivals.into_iter().map(|at| at - published));
        // What was served is noted a little later.
        sleep(SETTLED).await;
        spent += computed()?.saturating_sub(before);
    }
    Ok(Watching {
        nodes,
        memory: largest,
        publish: Took::of(publishes)?,
        told: Took::of(told)?,
        computed: spent.as_secs_f64() / times.max(1) as f64,
    })
}

/// Comes after `first`, and stays until the node has `version`.
async fn wait(mut node: Node, version: u64, first: Duration) -> Result<(Node, Instant)> {
    sleep(first).await;
    loop {
        node.follow_revocations().await?;
        if node.wait().await? == Answer::New {
            ensure!(node.version == version, "{version} was published, and {} came", node.version);
            return Ok((node, Instant::now()));
        }
    }
}

/// As the operator, at the first server.
pub(crate) async fn publish(plane: &Plane, body: String) -> Result<()> {
    let request = plane.http()?.post(plane.url(0, "/publish")?).bearer_auth(plane.admin()).body(body);
    let answer = request.send().await?;
    let status = answer.status();
    ensure!(status.is_success(), "the tree was not taken: {status} {}", answer.text().await?);
    Ok(())
}
