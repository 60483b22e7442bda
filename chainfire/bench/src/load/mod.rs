//! The load of each scenario.

mod catch_up;
mod fan_out;
mod fill;
mod keep_alive;
mod keys;
mod leader_loss;
mod mixed;
mod put;
mod range;
mod start;
mod txn;
mod watchers;

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use tonic::Status;

pub(crate) use {
    catch_up::catch_up,
    fan_out::fan_out,
    fill::fill,
    keep_alive::keep_alive,
    keys::keys_between,
    leader_loss::leader_loss,
    mixed::mixed,
    put::put,
    range::range,
    start::{first_answer, start},
    txn::txn,
};

use crate::figures::{Figures, Tally};

/// When a load is measured: from `from` to `until`. Before, caches warm up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    from: Instant,
    until: Instant,
}

/// How long a load runs before it counts, as a part of the time that counts.
const WARM_UP: u32 = 5;

impl Window {
    /// `measured` long, after a warm-up that begins now.
    pub(crate) fn open(measured: Duration) -> Self {
        let from = Instant::now() + measured / WARM_UP;
        Self { from, until: from + measured }
    }

    fn counts(self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }

    fn length(self) -> Duration {
        self.until - self.from
    }
}

/// One client: asks, waits for the answer, asks again.
pub(crate) trait Client: Send + 'static {
    fn ask(&mut self) -> impl Future<Output = Result<(), Status>> + Send;
}

/// Runs all clients until the window closes.
pub(crate) async fn closed_loop<C: Client>(clients: Vec<C>, window: Window) -> Result<Figures> {
    let mut running = JoinSet::new();
    for mut client in clients {
        running.spawn(async move {
            let mut tally = Tally::new();
            loop {
                let asked = Instant::now();
                if asked >= window.until {
                    return tally;
                }
                let answer = client.ask().await;
                if window.counts(asked) {
                    match answer {
                        Ok(()) => tally.took(asked.elapsed()),
                        Err(status) => tally.failed(&status),
                    }
                }
            }
        });
    }
    let mut all = Tally::new();
    while let Some(tally) = running.join_next().await {
        all.merge(&tally?);
    }
    if let Some(failure) = all.failure() {
        eprintln!("    a failure: {failure}");
    }
    Ok(all.figures(window.length()))
}
