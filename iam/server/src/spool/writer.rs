use std::time::Duration;

use iam_client::DecisionRecord;

use super::{Shared, SpoolError, Waiting, random_id};
use crate::clock::{Clock, Entropy};

/// How long denials are collected.
const COLLECT: Duration = Duration::from_secs(1);

/// Everything that waits goes to disk with one sync; whoever comes meanwhile is in the next round.
pub(super) fn run(shared: &Shared, clock: &dyn Clock) {
    let mut last_denials_ms = 0;
    loop {
        let (waiting, denials, stop) = {
            let mut queue = shared.queue.lock();
            if queue.waiting.is_empty() && !queue.stop {
                shared.wake.wait_for(&mut queue, COLLECT);
            }
            let now_ms = clock.now_ms();
            let due = queue.stop || now_ms.abs_diff(last_denials_ms) >= 1000;
            let end = queue.stop;
            let denials = if due { queue.denials.take(now_ms, end) } else { Vec::new() };
            if !denials.is_empty() {
                last_denials_ms = now_ms;
            }
            (std::mem::take(&mut queue.waiting), denials, queue.stop)
        };
        write(shared, waiting, denials);
        if stop && shared.queue.lock().waiting.is_empty() {
            return;
        }
    }
}

fn write(shared: &Shared, waiting: Vec<Waiting>, mut denials: Vec<DecisionRecord>) {
    if waiting.is_empty() && denials.is_empty() {
        return;
    }
    let mut log = shared.log.lock();
    let (mut records, mut answers) = (Vec::new(), Vec::new());
    let admitted = log.admit();
    for one in waiting {
        match &admitted {
            Ok(()) => {
                records.push(one.record);
                answers.push(one.done);
            }
            // Whoever went away does not need the answer; so below.
            Err(error) => drop(one.done.send(Err(error.clone()))),
        }
    }
    log.admit_denials(&mut denials);
    records.append(&mut denials);
    if records.is_empty() {
        return;
    }
    let written = identify(&mut records, shared.entropy.as_ref()).and_then(|()| log.append(&mut records));
    drop(log);
    for (record, done) in records.iter().zip(answers) {
        let _ = done.send(written.clone().map(|()| record.sequence));
    }
}

/// Event ids let whoever ships records twice see it.
fn identify(records: &mut [DecisionRecord], entropy: &dyn Entropy) -> Result<(), SpoolError> {
    for record in records {
        record.event_id = random_id(entropy)?.to_string();
    }
    Ok(())
}
