//! Some thousands of random operations against each reference. `cargo xtask differential` makes longer runs.

use anyhow::Result;
use chainfire_differential::{Lane, Pair, Plan, run};

async fn agrees(lane: Lane, plan: Plan) -> Result<()> {
    let Some(pair) = Pair::start(lane).await? else { return Ok(()) };
    let compared = run(&pair, plan).await;
    pair.end().await?;
    match compared {
        Ok(summary) => println!("{summary}"),
        Err(found) => {
            let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
            panic!("{}\n`cargo xtask differential --seed {}` shortens the first", shown.join("\n\n"), plan.seed);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chainfire_answers_like_etcd_3_6() -> Result<()> {
    agrees(Lane::V3_6, Plan { seed: 36, operations: 3_000, users: false }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chainfire_answers_like_etcd_3_4() -> Result<()> {
    agrees(Lane::V3_4, Plan { seed: 34, operations: 3_000, users: false }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chainfire_judges_users_like_etcd_3_6() -> Result<()> {
    agrees(Lane::V3_6, Plan { seed: 36, operations: 3_000, users: true }).await
}
