use std::{error::Error, future::Future};

use tokio::task::JoinSet;

use crate::Stop;

/// What it means when a task ends with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The process cannot do its work without the task: stop it.
    StopsProcess,
    /// The rest goes on; the failure is logged.
    IsLogged,
}

/// The tasks of a process under one stop signal.
#[derive(Debug)]
pub struct Tasks {
    stop: Stop,
    set: JoinSet<Result<(), String>>,
}

impl Tasks {
    pub fn new(stop: Stop) -> Self {
        Self { stop, set: JoinSet::new() }
    }

    /// The signal that every task of this set obeys.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Runs `task` until it ends by itself; it is expected to end soon after the stop is requested.
    pub fn spawn<F, E>(&mut self, name: &'static str, failure: Failure, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Error + Send + 'static,
    {
        let stop = self.stop.clone();
        self.set.spawn(async move {
            let Err(error) = task.await else { return Ok(()) };
            tracing::error!(task = name, error = %chain(&error), "task failed");
            if failure == Failure::IsLogged {
                return Ok(());
            }
            stop.request();
            Err(format!("{name}: {}", chain(&error)))
        });
    }

    /// Waits for all tasks; the first failure that stops the process is the result. A panic counts as one.
    pub async fn finished(mut self) -> Result<(), String> {
        let mut result = Ok(());
        while let Some(ended) = self.set.join_next().await {
            let ended = ended.unwrap_or_else(|join| Err(join.to_string()));
            if ended.is_err() {
                self.stop.request();
                result = result.and(ended);
            }
        }
        result
    }
}

/// An error with all its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use super::*;

    #[tokio::test]
    async fn a_vital_task_stops_the_others() {
        let mut tasks = Tasks::new(Stop::new());
        let stop = tasks.stop();
        tasks.spawn("waits", Failure::StopsProcess, async move {
            stop.requested().await;
            Ok::<_, Infallible>(())
        });
        tasks.spawn("fails", Failure::StopsProcess, async { Err(io::Error::other("disk")) });
        assert_eq!(tasks.finished().await, Err("fails: disk".to_owned()));
    }

    #[tokio::test]
    async fn a_minor_task_stops_nothing() {
        let mut tasks = Tasks::new(Stop::new());
        let stop = tasks.stop();
        tasks.spawn("fails", Failure::IsLogged, async { Err(io::Error::other("sink")) });
        assert_eq!(tasks.finished().await, Ok(()));
        assert!(!stop.is_requested());
    }
}
