//! Several machines at once, each by its own hand.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Node, Program, wait_until};

use crate::{
    members::PATIENCE,
    operator::{Said, Step},
};

/// Worth another try.
const UNREACHABLE: i32 = 7;

/// Every machine takes the version over and confirms it. When all that have something to confirm wait for that,
/// `meanwhile` happens; what it returns is returned.
pub(super) fn together<T>(
    step: &mut Step,
    nodes: &[&Node],
    version: u64,
    meanwhile: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let (gate, waiting) = (Barrier::new(nodes.len() + 1), AtomicUsize::new(0));
    thread::scope(|scope| {
        let hands: Vec<_> =
            nodes.iter().map(|node| scope.spawn(|| take_over(node, version, &gate, &waiting))).collect();
        gate.wait();
        let outcome = meanwhile();
        gate.wait();
        for hand in hands {
            let (said, outcome) = hand.join().ok().context("a hand panicked")?;
            said.into_iter().for_each(|said| step.said(said));
            outcome?;
        }
        let waiting = waiting.load(Ordering::Relaxed);
        step.find(waiting > 0, format!("{waiting} machines waited for their confirmation meanwhile"))?;
        outcome
    })
}

fn take_over(node: &Node, version: u64, gate: &Barrier, waiting: &AtomicUsize) -> (Vec<Said>, Result<()>) {
    let mut said = Vec::new();
    let begun = patiently(&mut said, || node.flor().words("sync --commit-timeout 5m")).and_then(|()| node.status());
    let pending = begun.as_ref().is_ok_and(|status| status["pending"]["version"] == version);
    waiting.fetch_add(usize::from(pending), Ordering::Relaxed);
    // Also when something went wrong: nobody shall wait for ever.
    gate.wait();
    gate.wait();
    let finish = || {
        begun?;
        if pending {
            patiently(&mut said, || node.flor().words(&format!("sync --confirm={version}")))?;
        }
        ensure!(node.status()?["confirmed"] == version, "{} has not confirmed version {version}", node.name());
        Ok(())
    };
    let outcome = finish();
    (said, outcome)
}

/// Repeats a command as long as no server answers it.
fn patiently(said: &mut Vec<Said>, program: impl Fn() -> Program) -> Result<()> {
    let shown = program().shown();
    wait_until(PATIENCE, &shown, || {
        let ended = program().run()?;
        said.push(Said::of(shown.clone(), &ended));
        Ok(if ended.code == Some(UNREACHABLE) { None } else { Some(ended.expect(0)?) })
    })
    .map(drop)
}
