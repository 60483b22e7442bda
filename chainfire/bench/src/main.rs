//! `cargo xtask bench chainfire`: the same load on chainfire and, beside it in the same run, on etcd.
//!
//! - `scenario`: the table of what is measured.
//! - `subject`: starting one or three servers of a kind; `door`: the client, the same for all of them.
//! - `load`: the load of each scenario; `course`: running it on one subject.
//! - `figures`: throughput and latency; `disk`: what an fsync costs here; `process`: what a process occupies.
//! - `report`: the JSON and the table, whose rows are each a `ratio`; `plot`: the picture.

mod course;
mod disk;
mod door;
mod figures;
mod load;
mod plot;
mod process;
mod ratio;
mod report;
mod scenario;
mod subject;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::{course::Course, report::Report, scenario::Size, subject::Kind};

/// Measures chainfire, beside etcd where it is asked for.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench chainfire")]
struct Arguments {
    /// What to measure beside chainfire: `etcd` is the reference, etcd 3.6.
    #[arg(long)]
    against: Option<String>,
    /// Numbers of members.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 3])]
    members: Vec<usize>,
    /// How chainfire runs: `drop-in` alone, or `suite` with TLS, IAM and audit.
    #[arg(long, value_delimiter = ',', default_value = "drop-in,suite")]
    modes: Vec<Kind>,
    /// Only scenarios whose name contains this.
    #[arg(long)]
    only: Option<String>,
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

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // One provider for the whole process; a second installation would be an error of this program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let course = Course {
        size: if arguments.small { Size::SMALL } else { Size::FULL },
        measured: Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?,
        only: arguments.only.clone(),
        folder: arguments.out.clone(),
    };
    let mut report = Report::new(&arguments.out)?;
    for members in &arguments.members {
        for kind in kinds(&arguments)? {
            report.add(course.run(kind, *members).await?);
        }
    }
    println!("{report}");
    for path in report.write(&arguments.out)? {
        println!("{}", path.display());
    }
    Ok(())
}

fn kinds(arguments: &Arguments) -> Result<Vec<Kind>> {
    let mut kinds = match arguments.against.as_deref() {
        None => Vec::new(),
        Some("etcd") => vec![Kind::Etcd],
        Some(other) => bail!("--against {other}: only etcd can be measured beside chainfire"),
    };
    kinds.extend(arguments.modes.iter().copied());
    Ok(kinds)
}
