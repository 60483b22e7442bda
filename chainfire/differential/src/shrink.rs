use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{
    lane::Lane,
    operation::Operation,
    run::{Disagreement, disagree},
    servers::Pair,
};

/// Leaves out whatever is not needed for the servers to disagree, in ever smaller pieces (Zeller's delta debugging),
/// each time on fresh servers, until nothing can go or `patience` is over. Returns the operations a line; none if the
/// disagreement did not come again.
///
/// # Errors
/// When servers do not start.
pub async fn shrink(lane: Lane, found: &Disagreement, patience: Duration) -> Result<Vec<String>> {
    let begun = Instant::now();
    let mut operations = found.asked.clone();
    if !still(lane, &operations).await? {
        return Ok(Vec::new());
    }
    let mut piece = operations.len() / 2;
    while piece > 0 {
        let mut at = 0;
        // The last one shows the difference; it stays.
        while at + piece < operations.len() {
            if begun.elapsed() > patience {
                return Ok(lines(&operations));
            }
            let mut fewer = operations.clone();
            fewer.drain(at..at + piece);
            if still(lane, &fewer).await? {
                operations = fewer;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    Ok(lines(&operations))
}

async fn still(lane: Lane, operations: &[Operation]) -> Result<bool> {
    let pair = Pair::start(lane).await?.context("the reference is not installed")?;
    let still = disagree(&pair, operations).await;
    pair.end().await?;
    Ok(still)
}

fn lines(operations: &[Operation]) -> Vec<String> {
    operations.iter().map(ToString::to_string).collect()
}
