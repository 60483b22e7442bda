use std::{collections::BTreeMap, fmt};

use holdfast_proto::etcdserverpb::HashKvRequest;

use crate::{
    allowed::{self, LEFT_OUT, LeftOut},
    answer::Answer,
    generate::{Generator, Horizon},
    lane::Lane,
    operation::{Operation, Who},
    servers::Pair,
};

/// After so many operations the stores are compared as a whole, too.
const HASH_EVERY: usize = 500;

/// A run goes on after a difference that leaves the stores equal, until there are so many.
const MOST: usize = 10;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub operations: usize,
    /// Whether users and roles are part of it.
    pub users: bool,
}

/// A run without a difference that is not meant.
#[derive(Debug)]
pub struct Summary {
    pub lane: Lane,
    pub operations: usize,
    /// The newest revision at the end.
    pub revision: i64,
    /// How often a server refused: a run without refusals tests little, one with nothing else as well.
    pub refused: usize,
    /// How often each allowed difference was met, by section and reason.
    pub allowed: BTreeMap<(&'static str, &'static str), usize>,
}

/// An answer that differs and should not.
#[derive(Debug)]
pub struct Disagreement {
    pub seed: u64,
    /// Counted from 0.
    pub step: usize,
    pub(crate) operation: Operation,
    pub(crate) theirs: Answer,
    pub(crate) ours: Answer,
    /// Everything asked up to and with this.
    pub(crate) asked: Vec<Operation>,
}

/// Asks both servers the same until the plan is done, or they disagree in a way that makes going on useless.
///
/// # Errors
/// With all disagreements, the first one first.
pub async fn run(pair: &Pair, plan: Plan) -> Result<Summary, Vec<Disagreement>> {
    let mut generator = Generator::new(plan.seed, plan.users);
    let mut course = Course::new(pair.lane);
    let mut asked = Vec::new();
    let mut found = Vec::new();
    for step in 0..=plan.operations {
        let whole = step % HASH_EVERY == HASH_EVERY - 1 || step == plan.operations;
        let operation = if whole { course.whole() } else { generator.next(course.horizon) };
        asked.push(operation.clone());
        if let Err((theirs, ours)) = course.step(pair, &operation).await {
            found.push(Disagreement { seed: plan.seed, step, operation, theirs, ours, asked: asked.clone() });
            if found.len() == MOST || course.step(pair, &course.whole()).await.is_err() {
                break;
            }
        }
    }
    if found.is_empty() {
        Ok(Summary { operations: plan.operations, revision: course.horizon.revision, ..course.summary })
    } else {
        Err(found)
    }
}

/// Asks these; true if the servers disagree.
pub(crate) async fn disagree(pair: &Pair, operations: &[Operation]) -> bool {
    let mut course = Course::new(pair.lane);
    for operation in operations {
        if course.step(pair, operation).await.is_err() {
            return true;
        }
    }
    false
}

#[derive(Debug)]
struct Course {
    horizon: Horizon,
    summary: Summary,
}

impl Course {
    fn new(lane: Lane) -> Self {
        let summary = Summary { lane, operations: 0, revision: 1, refused: 0, allowed: BTreeMap::new() };
        Self { horizon: Horizon { lane, revision: 1, compacted: 0 }, summary }
    }

    /// Asks for everything that the store has.
    fn whole(&self) -> Operation {
        let whole = Operation::HashKv(HashKvRequest { revision: self.horizon.revision });
        Operation::As(Who::User("root"), Box::new(whole))
    }

    /// Asks both; what they said, if it differs and should not.
    async fn step(&mut self, pair: &Pair, operation: &Operation) -> Result<(), (Answer, Answer)> {
        let compacted = self.horizon.compacted;
        let (theirs, ours) = tokio::join!(pair.theirs.ask(operation, compacted), pair.ours.ask(operation, compacted));
        if !theirs.agrees(&ours) {
            match allowed::covering(operation, &theirs, &ours, self.horizon) {
                Some(allowed) => *self.summary.allowed.entry((allowed.section, allowed.reason)).or_default() += 1,
                None => return Err((theirs, ours)),
            }
        }
        self.summary.refused += usize::from(matches!(theirs, Answer::Refused { .. }));
        self.horizon.revision = theirs.revision().unwrap_or_default().max(self.horizon.revision);
        if let (Operation::Compact(compaction), Answer::Compact(_)) = (operation.bare(), &theirs) {
            self.horizon.compacted = compaction.revision;
        }
        Ok(())
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, operation, theirs, ours, .. } = self;
        write!(formatter, "seed {seed}, step {step}: {operation}\netcd: {theirs}\nchainfire: {ours}")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lane, operations, revision, refused, allowed } = self;
        write!(formatter, "{operations} operations ({refused} refused) to revision {revision}: no difference")?;
        for ((section, reason), times) in allowed {
            write!(formatter, "\n  allowed {times} times, {section}: {reason}")?;
        }
        for LeftOut { section, what, .. } in LEFT_OUT.iter().filter(|left_out| left_out.lanes.contains(lane)) {
            write!(formatter, "\n  left out, {section}: {what}")?;
        }
        Ok(())
    }
}
