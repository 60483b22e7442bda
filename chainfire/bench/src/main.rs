//! `cargo xtask bench chainfire`: the same load on chainfire and, beside it in the same run, on etcd.
//!
//! - `scenario`: the table of what is measured.
//! - `subject`: starting one or three servers of a kind; `door`: the client, the same for all of them.
//! - `load`: the load of each scenario; `course`: running it on one subject.
//! - `figures`: throughput and latency; `disk`: what an fsync costs here.
//! - `nothing`: a server that does nothing, for the ceiling of the client and the RPC layer.
//! - `report`: the JSON and the table, whose rows are each a `ratio`; `plot`: the picture.

mod course;
mod disk;
mod door;
mod figures;
mod load;
mod nothing;
mod plot;
mod ratio;
mod report;
mod scenario;
mod subject;

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use crate::{course::Course, report::Report, scenario::Size, subject::Kind};

/// Measures chainfire, beside etcd where it is asked for.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench chainfire")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// What to measure beside chainfire.
    #[arg(long, value_delimiter = ',')]
    against: Vec<Beside>,
    /// Numbers of members.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 3])]
    members: Vec<usize>,
    /// How chainfire runs: `drop-in` alone, or `suite` with TLS, IAM and audit.
    #[arg(long, value_delimiter = ',', default_value = "drop-in,suite")]
    modes: Vec<Kind>,
    /// Only scenarios whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Print the names of the scenarios, and measure nothing.
    #[arg(long)]
    list: bool,
    /// Seconds for which each scenario is measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Smaller numbers of watchers, leases and keys: for a first look, not for publication.
    #[arg(long)]
    small: bool,
    /// Where results and the servers' data go; data should lie on the disk that is meant.
    #[arg(long, default_value = "work/bench")]
    out: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Beside {
    /// The reference, etcd 3.6.
    Etcd,
    /// One server that answers at once and keeps nothing: the ceiling of the client and the RPC layer.
    Nothing,
}

/// A process that a measurement starts.
#[derive(Subcommand)]
enum Part {
    #[command(hide = true)]
    Nothing {
        #[arg(long)]
        listen: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Part::Nothing { listen }) = arguments.part {
        return nothing::serve(listen).await;
    }
    let course = Course {
        size: if arguments.small { Size::SMALL } else { Size::FULL },
        measured: Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?,
        only: arguments.only.clone(),
        folder: arguments.out.clone(),
    };
    if arguments.list {
        course.wanted().for_each(|scenario| println!("{scenario}"));
        return Ok(());
    }
    // One provider for the whole process; a second installation would be an error of this program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let mut report = Report::new(&arguments.out)?;
    for (kind, members) in arguments.subjects() {
        report.add(course.run(kind, members).await?);
    }
    println!("{report}");
    for path in report.write(&arguments.out)? {
        println!("{}", path.display());
    }
    ensure!(report.failures() == 0, "{} scenarios failed", report.failures());
    Ok(())
}

impl Arguments {
    /// What is measured, in this order: theirs shortly before ours.
    fn subjects(&self) -> Vec<(Kind, usize)> {
        let mut subjects = Vec::new();
        if self.against.contains(&Beside::Nothing) {
            subjects.push((Kind::Nothing, 1));
        }
        let etcd = self.against.contains(&Beside::Etcd).then_some(Kind::Etcd);
        for members in &self.members {
            subjects.extend(etcd.iter().chain(&self.modes).map(|kind| (*kind, *members)));
        }
        subjects
    }
}
