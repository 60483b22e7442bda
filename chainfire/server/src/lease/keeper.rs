use std::{sync::Arc, time::Duration};

use chainfire_core::lease::{self, LeaseId};
use tokio::time::{Instant, sleep};

use super::{
    Desk, Lessor,
    wire::{Answer, Question},
};
use crate::{Error, store::Store};

/// How any server serves lease calls: it asks the leader, which may be itself.
pub(crate) struct Keeper {
    store: Arc<Store>,
    desk: Arc<Desk>,
    lessor: Arc<Lessor>,
    patience: Duration,
}

/// Between two questions while there is no leader to ask.
const PAUSE: Duration = Duration::from_millis(50);

/// Leases of one page while the state is listed.
const PAGE: usize = 1_000;

impl Keeper {
    pub(crate) fn new(store: Arc<Store>, desk: Arc<Desk>, lessor: Arc<Lessor>, patience: Duration) -> Self {
        Self { store, desk, lessor, patience }
    }

    /// Gives a lease its whole time again and returns it; none if there is no such lease.
    pub(crate) async fn renew(&self, id: LeaseId) -> Result<Option<Duration>, Error> {
        match self.ask(Question::Renew(id)).await? {
            Answer::Renewed { ttl } => Ok(Some(ttl)),
            Answer::Unknown => Ok(None),
            Answer::Remaining { .. } | Answer::Elsewhere | Answer::Behind => Err(Error::TimedOut),
        }
    }

    /// How long a lease still runs; none if there is no such lease.
    pub(crate) async fn remaining(&self, id: LeaseId) -> Result<Option<Duration>, Error> {
        match self.ask(Question::Remaining(id)).await? {
            Answer::Remaining { left } => Ok(Some(left)),
            Answer::Unknown => Ok(None),
            Answer::Renewed { .. } | Answer::Elsewhere | Answer::Behind => Err(Error::TimedOut),
        }
    }

    /// All leases: the leader knows in which order they end, others list them by id.
    pub(crate) fn list(&self) -> Result<Vec<LeaseId>, Error> {
        if let Some(leases) = self.lessor.by_deadline() {
            return Ok(leases);
        }
        let view = self.store.view();
        let mut found = Vec::new();
        loop {
            let page = lease::leases(&view, found.last().copied(), PAGE)?;
            let more = page.len() == PAGE;
            found.extend(page.into_iter().map(|(id, _)| id));
            if !more {
                return Ok(found);
            }
        }
    }

    /// Asks until somebody who leads has answered.
    async fn ask(&self, question: Question) -> Result<Answer, Error> {
        let give_up = Instant::now() + self.patience;
        loop {
            let unanswered = match self.ask_once(question).await {
                Some(Answer::Behind) => Error::Behind,
                Some(Answer::Elsewhere) | None if self.store.status().leader.is_none() => Error::NoLeader,
                Some(Answer::Elsewhere) | None => Error::TimedOut,
                Some(answer) => return Ok(answer),
            };
            if Instant::now() >= give_up {
                return Err(unanswered);
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask_once(&self, question: Question) -> Option<Answer> {
        if self.store.status().is_leader {
            return Some(self.desk.answer(question).await);
        }
        let answer = self.store.group().ask_leader(question.encode().ok()?).await.ok()?;
        Answer::decode(&answer).ok()
    }
}
