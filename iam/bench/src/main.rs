//! `cargo xtask bench iam`: what IAM costs in real servers.
//!
//! - `population`: principals, groups and policies, few or very many.
//! - `load`: callers with tokens that the server knows, tokens that it sees for the first time, and certificates.
//! - `histogram`: how long the server says that it took to admit them.
//! - `propagation`: how soon a change of rights counts on every one of three servers.
//! - `report`: the JSON, the table and the picture.

mod histogram;
mod load;
mod population;
mod propagation;
mod report;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use holdfast_bench::Plane;

use crate::{load::Load, population::Population, report::Report};

/// Measures IAM.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench iam")]
struct Arguments {
    /// Requests that each kind of caller makes.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Changes of rights whose effect is waited for on three servers.
    #[arg(long, default_value_t = 500)]
    changes: usize,
    /// A small population instead of 10,000 policies and 100,000 principals: for a first look, not for publication.
    #[arg(long)]
    small: bool,
    /// Where results and the servers' data go.
    #[arg(long, default_value = "work/bench")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // One provider for the whole process; a second installation would be an error of this program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let mut report = Report::new()?;

    let many = if arguments.small { Population { policies: 100, principals: 1_000 } } else { Population::MANY };
    let plane = Plane::start(1, &arguments.out).await?;
    Population::FEW.settle(&plane, Population::NONE).await?;
    report.add(Population::FEW, Load::new(&plane, Population::FEW, arguments.requests).await?.run().await?);
    many.settle(&plane, Population::FEW).await?;
    report.add(many, Load::new(&plane, many, arguments.requests).await?.run().await?);
    drop(plane);

    let plane = Plane::start(3, &arguments.out).await?;
    Population::FEW.settle(&plane, Population::NONE).await?;
    report.propagation = Some(propagation::measure(&plane, arguments.changes).await?);

    println!("{report}");
    for path in report.write(&arguments.out)? {
        println!("{}", path.display());
    }
    Ok(())
}
