//! What the servers could not be told is told when they are back.

use std::{cmp::min, time::Duration};

use holdfast_service::Stop;
use tokio::time::sleep;

use crate::{Error, agent::Agent, chance::chance, home::Layout, op_lock::OpLock};

/// After the first failure; doubled with each further one.
const FIRST: Duration = Duration::from_secs(4);
const LONGEST: Duration = Duration::from_secs(60);

/// Runs until `stop`. Waiting costs nothing, and asking takes no turn.
pub(crate) async fn run(agent: Agent, layout: Layout, stop: Stop) {
    let mut failures = 0;
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = agent.owes_a_report() => {}
        }
        let wait = back_off(failures, chance());
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(wait) => {}
        }
        failures = match tell(&agent, &layout).await {
            Ok(()) => 0,
            Err(error) => {
                tracing::debug!(%error, "the servers are not told yet");
                failures.saturating_add(1)
            }
        };
    }
}

async fn tell(agent: &Agent, layout: &Layout) -> Result<(), Error> {
    let heard = agent.retell().await?;
    if heard.is_empty() {
        return Ok(());
    }
    let _turn = OpLock::acquire(layout).await?;
    agent.heard(heard).await
}

/// Nodes that lost the same servers do not come back to them together.
fn back_off(failures: u32, chance: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
    min(doubled, LONGEST).mul_f64(0.25 + chance * 0.75)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_in_bounds() {
        assert_eq!((back_off(0, 0.0), back_off(0, 1.0)), (Duration::from_secs(1), FIRST));
        assert!(back_off(2, 0.0) >= FIRST);
        for failures in [5, 31, 32, u32::MAX] {
            assert_eq!((back_off(failures, 0.0), back_off(failures, 1.0)), (LONGEST / 4, LONGEST));
        }
    }
}
