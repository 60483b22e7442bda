use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chainfire_core::lease::LeaseId;
use chainfire_raft::ReadError;
use tokio::{sync::Mutex, time::timeout};

use super::{
    Lessor, Renewal, checkpoints,
    wire::{Answer, Question},
};
use crate::store::Store;

/// Answers what only the leader may: it speaks from its own clocks, after it has proven that it still leads.
pub(crate) struct Desk {
    store: Arc<Store>,
    lessor: Arc<Lessor>,
    /// How long a proof may be old. A leader elected after it starts all leases anew with an extension of one
    /// election; a renewal promised within less than that ends before the successor's clock does.
    proof_age: Duration,
    proof: Mutex<Option<Proof>>,
    /// How long a renewal waits for the end of a lease that has expired.
    patience: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Proof {
    term: u64,
    /// When it was asked for: the majority answered later.
    asked: Instant,
}

impl Desk {
    pub(crate) fn new(store: Arc<Store>, lessor: Arc<Lessor>, election: Duration, patience: Duration) -> Self {
        Self { store, lessor, proof_age: election / 2, proof: Mutex::new(None), patience }
    }

    pub(crate) async fn answer(&self, question: Question) -> Answer {
        let term = match self.prove(self.proof_age).await {
            Ok(term) => term,
            Err(ReadError::Behind) => return Answer::Behind,
            Err(_) => return Answer::Elsewhere,
        };
        match question {
            Question::Renew(id) => self.renew(term, id).await,
            Question::Remaining(id) => match self.lessor.remaining(term, id) {
                Ok(Some(left)) => Answer::Remaining { left },
                Ok(None) => Answer::Unknown,
                Err(_) => Answer::Elsewhere,
            },
        }
    }

    /// The same for another server.
    pub(crate) async fn answer_encoded(&self, question: &[u8]) -> Result<Vec<u8>, String> {
        let question = Question::decode(question).map_err(|error| error.to_string())?;
        self.answer(question).await.encode().map_err(|error| error.to_string())
    }

    async fn renew(&self, term: u64, id: LeaseId) -> Answer {
        if let Err(error) = checkpoints::forget(&self.store, term, id).await {
            tracing::debug!(error, "a lease is not renewed: its checkpoint would outlive it");
            return Answer::Elsewhere;
        }
        match self.lessor.renew(term, id) {
            Ok(Renewal::Renewed { ttl }) => Answer::Renewed { ttl },
            Ok(Renewal::Unknown) => Answer::Unknown,
            // Its end is decided but not yet in the log. Nobody may hear that it is gone before it is.
            Ok(Renewal::Expired) => match timeout(self.patience, self.lessor.gone(term, id)).await {
                Ok(()) => Answer::Unknown,
                Err(_) => Answer::Elsewhere,
            },
            Err(_) => Answer::Elsewhere,
        }
    }

    /// The term in which this server leads, proven by a majority at most `age` ago. Concurrent callers share a proof.
    pub(crate) async fn prove(&self, age: Duration) -> Result<u64, ReadError> {
        let mut proof = self.proof.lock().await;
        let known = self.store.status();
        if !known.is_leader {
            return Err(ReadError::NoLeader("this server does not lead".to_owned()));
        }
        if proof.is_some_and(|proof| proof.term == known.term && proof.asked.elapsed() < age) {
            return Ok(known.term);
        }
        let asked = Instant::now();
        let term = self.store.group().prove_leadership().await?;
        *proof = Some(Proof { term, asked });
        Ok(term)
    }
}
