//! `cargo xtask bench fleet`: what distribution costs in real servers with a fleet of simulated nodes.
//!
//! - `node`: a node as far as servers can tell, with a certificate and connections of its own; `crew`: all of them.
//! - `tree`: signed trees as an operator publishes them.
//! - `polling`, `watching`: what nodes do all day, and when something is published; `took`: how long it took.
//! - `agent`: a real `flor` that has nothing to do.
//! - `course`: everything on one set of servers, in order; `report`: the JSON, the table and the picture.

mod agent;
mod course;
mod crew;
mod limits;
mod node;
mod polling;
mod report;
mod took;
mod tree;
mod watching;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::{course::Course, report::Report};

/// Measures the distribution of configuration.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench fleet")]
struct Arguments {
    /// Simulated nodes.
    #[arg(long, default_value_t = 10_000)]
    nodes: usize,
    /// Numbers of servers.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 3])]
    servers: Vec<usize>,
    /// Seconds between two looks of a polling node.
    #[arg(long, default_value_t = 30)]
    interval: u64,
    /// Seconds for which nodes poll.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Versions that are published while all nodes wait for one.
    #[arg(long, default_value_t = 5)]
    publishes: usize,
    /// Where results and the servers' data go; data should lie on the disk that is meant.
    #[arg(long, default_value = "work/bench")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // One provider for the whole process; a second installation would be an error of this program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let connections = limits::raise(arguments.nodes)?;
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let course = Course {
        nodes: arguments.nodes,
        connections,
        interval: Duration::from_secs(arguments.interval),
        polled: Duration::from_secs(arguments.seconds),
        publishes: arguments.publishes,
        folder: fs::canonicalize(&arguments.out)?,
    };
    let mut report = Report::new(arguments.nodes, arguments.interval)?;
    for servers in arguments.servers {
        report.add(course.run(servers).await?);
    }
    println!("{report}");
    for path in report.write(&arguments.out)? {
        println!("{}", path.display());
    }
    Ok(())
}
