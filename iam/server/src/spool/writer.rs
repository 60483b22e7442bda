use std::time::{Duration, Instant};

use chainfire_core::{AuthenticatedBy, Origin};
use iam_client::DecisionRecord;

use super::{Shared, SpoolError, Waiting, log::Log, random_id};
use crate::clock::{Clock, Entropy};

/// How long denials are collected.
const COLLECT: Duration = Duration::from_secs(1);
/// How often the files are looked after, whether anything is written or not.
const LOOK: Duration = Duration::from_secs(1);
/// What somebody's hand on the files is in the history.
const DISPLACED: &str = "iam.DecisionLogDisplaced";

/// Everything that waits goes to disk with one sync; whoever comes meanwhile is in the next round.
pub(super) fn run(shared: &Shared, clock: &dyn Clock) {
    let (mut last_denials_ms, mut looked, mut made_room) = (0, Instant::now(), 0);
    loop {
        let (waiting, denials, shipped, stop) = {
            let mut queue = shared.queue.lock();
            if queue.waiting.is_empty() && queue.shipped == made_room && !queue.stop {
                shared.wake.wait_for(&mut queue, COLLECT);
            }
            let now_ms = clock.now_ms();
            let due = queue.stop || now_ms.abs_diff(last_denials_ms) >= 1000;
            let end = queue.stop;
            let denials = if due { queue.denials.take(now_ms, end) } else { Vec::new() };
            if !denials.is_empty() {
                last_denials_ms = now_ms;
            }
            (std::mem::take(&mut queue.waiting), denials, queue.shipped, queue.stop)
        };
        if shipped != made_room {
            make_room(shared, shipped);
            made_room = shipped;
        }
        write(shared, waiting, denials, clock);
        if looked.elapsed() >= LOOK {
            let mut log = shared.log.lock();
            log.recover();
            look_after(&mut log, shared.entropy.as_ref(), clock);
            shared.publish(&log);
            looked = Instant::now();
        }
        if stop && shared.queue.lock().waiting.is_empty() {
            return;
        }
    }
}

/// What is safe elsewhere goes. If that fails, the next batch that is shipped tries again; nobody has lost anything.
fn make_room(shared: &Shared, sequence: u64) {
    let mut log = shared.log.lock();
    if let Err(error) = log.shipped(sequence) {
        tracing::error!(%error, "the decision log keeps what is shipped");
    }
    shared.publish(&log);
}

fn write(shared: &Shared, waiting: Vec<Waiting>, mut denials: Vec<DecisionRecord>, clock: &dyn Clock) {
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
        shared.publish(&log);
        return;
    }
    let mut written = identify(&mut records, shared.entropy.as_ref()).and_then(|()| log.append(&mut records));
    // What went into a file that is not there any more has not reached the disk.
    if written.is_ok() && !log.is_in_place() {
        look_after(&mut log, shared.entropy.as_ref(), clock);
        if !log.is_in_place() {
            written = Err(SpoolError::Failed("its file was taken away and cannot be written anew".to_owned()));
        }
    }
    shared.publish(&log);
    drop(log);
    for (record, done) in records.iter().zip(answers) {
        let _ = done.send(written.clone().map(|()| record.sequence));
    }
}

/// Mends what somebody has done to the files, and writes that down.
fn look_after(log: &mut Log, entropy: &dyn Entropy, clock: &dyn Clock) {
    let found = log.keep_files();
    for words in &found {
        tracing::error!(words, "the decision log was touched by somebody else");
    }
    if found.is_empty() || log.admit().is_err() {
        return;
    }
    let mut records: Vec<_> = found.into_iter().map(|words| displaced(words, clock.now_ms())).collect();
    let written = identify(&mut records, entropy).and_then(|()| log.append(&mut records));
    if let Err(error) = written {
        tracing::error!(%error, "that is not in the history");
    }
}

fn displaced(words: String, time_ms: u64) -> DecisionRecord {
    let Origin { principal, request_id, .. } = Origin::system("iam", "decision-log");
    DecisionRecord {
        sequence: 0,
        event_id: String::new(),
        time_ms,
        principal,
        authenticated_by: AuthenticatedBy::System.as_str().to_owned(),
        source: None,
        token_id: None,
        request_id,
        action: DISPLACED.to_owned(),
        resource: "iam/decision-log".to_owned(),
        outcome: "done".to_owned(),
        reason: Some(words),
        count: 1,
    }
}

/// Event ids let whoever ships records twice see it.
fn identify(records: &mut [DecisionRecord], entropy: &dyn Entropy) -> Result<(), SpoolError> {
    for record in records {
        record.event_id = random_id(entropy)?.to_string();
    }
    Ok(())
}
