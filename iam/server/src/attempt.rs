//! A change under an idempotency key: its record is committed with the change, or neither is.

use std::sync::Arc;

use chainfire_core::{Origin, system::Expect};
use iam_core::{
    idempotency::{Again, Done, KEPT_MS},
    record::key,
};
use parking_lot::Mutex;

use crate::{
    Error, Iam,
    iam::Inner,
    records::{Change, Versioned},
};

/// Old records that a change takes along.
const SWEEP: usize = 8;
/// Bytes of an answer that are worth storing.
const MAX_ANSWER: usize = 4096;

tokio::task_local! {
    /// The attempt that the request of this task is. Each handler makes one change, whose commit finds it here.
    static CURRENT: Arc<Attempt>;
}

/// One request that has a key and was not made before.
pub(crate) struct Attempt {
    at: Vec<u8>,
    expect: Expect,
    request: String,
    until_ms: u64,
    /// Expired records of others.
    doomed: Vec<Vec<u8>>,
    /// What was committed, and the revision.
    done: Mutex<Option<Versioned<Done>>>,
}

/// What there is to do for a request with a key.
pub(crate) enum Looked {
    New(Arc<Attempt>),
    /// It was made before.
    Made(Versioned<Done>),
}

impl Attempt {
    /// That of the request of this task, if it has a key and has changed nothing yet.
    pub(crate) fn current() -> Option<Arc<Self>> {
        let current = CURRENT.try_with(Arc::clone).ok()?;
        let open = current.done.lock().is_none();
        open.then_some(current)
    }

    /// Runs a handler as this attempt.
    pub(crate) async fn run<F: Future>(self: Arc<Self>, handler: F) -> F::Output {
        CURRENT.scope(self, handler).await
    }

    /// Adds to a change that it was made.
    pub(crate) fn enter(&self, change: Change) -> Result<(Change, Done), Error> {
        let done = Done {
            request: self.request.clone(),
            action: change.action().to_owned(),
            resource: change.resource().to_owned(),
            until_ms: self.until_ms,
            answer: None,
        };
        let change = change.expect(self.at.clone(), self.expect).put(self.at.clone(), &done)?;
        Ok((self.doomed.iter().cloned().fold(change, Change::delete), done))
    }

    pub(crate) fn committed(&self, value: Done, revision: u64) {
        *self.done.lock() = Some(Versioned { value, revision });
    }
}

impl Inner {
    /// Looks whether the request was made before; `id` is that of the key.
    fn look(&self, id: &str, request: &str) -> Result<Looked, Error> {
        let (at, now_ms) = (key::idempotency(id), self.now_ms());
        let stored = self.records.get::<Done>(&at)?;
        let expect = match &stored {
            None => Expect::Absent,
            Some(stored) => match stored.value.again(request, now_ms) {
                Again::Expired => Expect::Revision(stored.revision),
                Again::Same(done) => {
                    return Ok(Looked::Made(Versioned { value: done.clone(), revision: stored.revision }));
                }
                Again::Other => {
                    return Err(Error::Invalid("the idempotency key was used for another request".to_owned()));
                }
            },
        };
        let begin = key::idempotency(&hex::encode(self.random::<3>()?));
        let some = self.records.some::<Done>(key::IDEMPOTENCY.as_bytes(), &begin, SWEEP)?;
        let old = some.into_iter().filter(|(found, done)| *found != at && now_ms > done.until_ms);
        Ok(Looked::New(Arc::new(Attempt {
            doomed: old.map(|(found, _)| found).collect(),
            at,
            expect,
            request: request.to_owned(),
            until_ms: now_ms.saturating_add(KEPT_MS),
            done: Mutex::default(),
        })))
    }
}

impl Iam {
    pub(crate) fn look_for_attempt(&self, id: &str, request: &str) -> Result<Looked, Error> {
        self.0.look(id, request)
    }

    /// Stores what the attempt was answered, for whoever did not hear it. Without it a repetition is told what was done.
    pub(crate) async fn keep_answer(&self, attempt: &Attempt, message: &[u8]) {
        let Some(Versioned { value, revision }) = attempt.done.lock().clone() else { return };
        if message.len() > MAX_ANSWER {
            return;
        }
        let stored = async {
            let origin = Origin::system("iam", format!("answer-{}", hex::encode(self.0.random::<8>()?)));
            let change = Change::new("iam.KeepAnswer", value.resource.clone());
            let value = Done { answer: Some(hex::encode(message)), ..value };
            self.0.records.commit(origin, change.replace(attempt.at.clone(), revision, &value)?).await
        };
        if let Err(error) = stored.await {
            tracing::debug!(%error, "the answer to a change with an idempotency key is not stored");
        }
    }
}
