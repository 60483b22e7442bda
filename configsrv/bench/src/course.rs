use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use holdfast_bench::{Plane, memory};
use serde::Serialize;

use crate::{
    agent::{self, Idle},
    crew::{self, Crew},
    polling::{self, Polling, Way},
    tree::Trees,
    watching::{self, Watching},
};

/// The fleet that [`Plane`]'s servers are for.
const CLUSTER: &str = "quay.test";

/// What is measured, on any number of servers.
pub(crate) struct Course {
    pub(crate) nodes: usize,
    /// Nodes that may have a connection to one server at a time.
    pub(crate) connections: usize,
    pub(crate) interval: Duration,
    pub(crate) polled: Duration,
    pub(crate) publishes: usize,
    pub(crate) folder: PathBuf,
}

/// Everything that came of one set of servers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) servers: usize,
    /// Nodes that joined in a second, with a certificate each.
    pub(crate) joins_per_second: f64,
    /// Nodes that connected and fetched their first artifact in a second.
    pub(crate) first_fetches_per_second: f64,
    /// Bytes of the first server, after everybody has joined and before anybody has come.
    pub(crate) memory_before: u64,
    /// As programs that a timer starts.
    pub(crate) polling: Polling,
    /// As agents, as many as have room, and as many looks a second.
    pub(crate) staying: Polling,
    pub(crate) watching: Watching,
    pub(crate) agent: Idle,
}

impl Course {
    pub(crate) async fn run(&self, servers: usize) -> Result<Run> {
        eprintln!("{servers} server(s): {} nodes join", self.nodes);
        let plane = Plane::start(servers, &self.folder).await?;
        let names = crew::names(self.nodes);
        let begun = Instant::now();
        let known = crew::join(&plane, &names).await?;
        let joined = begun.elapsed();
        let trees = Trees::new(CLUSTER, names.clone())?;
        watching::publish(&plane, trees.publish(1)?).await?;
        let memory_before = memory(plane.process(0)?)?;
        let room = self.connections.saturating_mul(servers);
        eprintln!("{servers} server(s): they come");
        let mut crew = Crew::come(&plane, &known, joined, room).await?;
        let per_second = |took: Duration| self.nodes as f64 / took.as_secs_f64();
        let (joins_per_second, first_fetches_per_second) = (per_second(crew.joined), per_second(crew.fetched));
        eprintln!("{servers} server(s): they poll");
        let polling = polling::measure(&plane, &mut crew, Way::Anew, self.interval, self.polled).await?;
        crew.nodes.truncate(room);
        let stay = crew.nodes.len();
        eprintln!("{servers} server(s): {stay} stay");
        let interval = self.interval.mul_f64(stay as f64 / self.nodes as f64);
        let staying = polling::measure(&plane, &mut crew, Way::Staying, interval, self.polled).await?;
        eprintln!("{servers} server(s): {stay} wait");
        let watching = watching::measure(&plane, &mut crew, &trees, 1, self.publishes).await?;
        drop(crew);
        let first = names.first().context("a fleet has nodes")?;
        let agent = agent::measure(&plane, first, &self.folder).await?;
        Ok(Run {
            servers,
            joins_per_second,
            first_fetches_per_second,
            memory_before,
            polling,
            staying,
            watching,
            agent,
        })
    }
}
