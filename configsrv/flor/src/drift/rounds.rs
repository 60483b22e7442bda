use std::time::Duration;

use holdfast_service::Stop;
use tokio::time::sleep;

use super::{
    Drift,
    decide::{Decision, Repairs, decide},
};
use crate::{Error, agent::Agent, chance::chance, home::Layout, op_lock::OpLock};

/// Looks from time to time, until `stop`, and does what the active version says.
pub(crate) async fn run(agent: Agent, layout: Layout, every: Duration, stop: Stop) {
    let mut rounds = Rounds { agent, layout, known: Drift::default(), repairs: Repairs::default(), trouble: None };
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = sleep(every.mul_f64(0.8 + 0.4 * chance())) => {}
        }
        match rounds.round().await {
            Ok(()) => rounds.trouble = None,
            Err(error) => rounds.say(&error),
        }
    }
}

struct Rounds {
    agent: Agent,
    layout: Layout,
    known: Drift,
    repairs: Repairs,
    /// What was said last: the same trouble is said once.
    trouble: Option<String>,
}

impl Rounds {
    async fn round(&mut self) -> Result<(), Error> {
        let drift = self.agent.drift()?;
        if drift != self.known {
            for file in drift.files.iter().filter(|file| !self.known.files.contains(file)) {
                tracing::warn!(policy = %drift.policy, "somebody changed a file of the active version: {file}");
            }
            self.known.clone_from(&drift);
            self.agent.owe_a_report();
        }
        match decide(&drift, &self.repairs, self.agent.uptime_ms()?) {
            Decision::Nothing => Ok(()),
            Decision::Repair(paths) => {
                let _turn = OpLock::acquire(&self.layout).await?;
                self.repairs.note(&paths, self.agent.uptime_ms()?);
                let outcome = self.agent.repair(Some(&paths)).await?;
                tracing::info!("{outcome}");
                self.known = self.agent.drift()?;
                Ok(())
            }
            Decision::LeaveAlone(paths) => Err(Error::State(format!(
                "{} was written again and again, and somebody else changes it each time: it is left alone for an hour",
                paths.join(", ")
            ))),
        }
    }

    fn say(&mut self, error: &Error) {
        let text = error.to_string();
        if self.trouble.as_ref() != Some(&text) {
            tracing::error!(%error, "files are not as the active version wrote them");
            self.trouble = Some(text);
        }
    }
}
