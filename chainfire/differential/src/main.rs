//! Runs the differential test for as long as one likes: `cargo xtask differential`.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use chainfire_differential::{Lane, Pair, Plan, run, shrink};
use clap::Parser;

/// Asks a real etcd and chainfire the same and compares every answer.
#[derive(Parser)]
#[command(bin_name = "cargo xtask differential")]
struct Arguments {
    #[arg(long, default_value_t = 100_000)]
    operations: usize,
    /// The same seed asks the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The release of etcd: 3.6 or 3.4.
    #[arg(long, default_value = "3.6")]
    against: Lane,
    /// With users and roles.
    #[arg(long)]
    users: bool,
    /// Seconds for which to look for fewer operations that show a difference.
    #[arg(long, default_value_t = 120)]
    shrink: u64,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Arguments { operations, seed, against, users, shrink: seconds } = Arguments::parse();
    let pair = Pair::start(against).await?.context("without a reference there is nothing to compare")?;
    println!("{operations} operations of seed {seed} against {against}");
    let compared = run(&pair, Plan { seed, operations, users }).await;
    pair.end().await?;
    let found = match compared {
        Ok(summary) => {
            println!("{summary}");
            return Ok(ExitCode::SUCCESS);
        }
        Err(found) => found,
    };
    for disagreement in &found {
        println!("{disagreement}\n");
    }
    if let Some(found) = found.first()
        && seconds > 0
    {
        println!("looking for fewer operations that show it");
        for line in shrink(against, found, Duration::from_secs(seconds)).await? {
            println!("  {line}");
        }
    }
    Ok(ExitCode::FAILURE)
}
