use std::{sync::Arc, time::Duration};

use chainfire_core::{
    Origin,
    alarm::{Alarm, AlarmKind},
    kv::{self, Revision},
};
use futures::future::join_all;
use holdfast_service::Stop;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep};

use super::{
    answer::answer,
    verdict::{Verdict, judge},
    wire::{Answer, Question},
};
use crate::{Error, MemberId, directory::Directory, members::Member, request::request_id, store::Store};

/// Between two windows.
const PAUSE: Duration = Duration::from_secs(10);

/// Revisions of one window.
const WINDOW: i64 = 10_000;

/// So often members that did not answer are asked.
const ATTEMPTS: u32 = 3;

/// From the end of one pass over what is stored to the begin of the next; new revisions do not wait for it.
const REST: Duration = Duration::from_secs(3_600);

/// Compares the members' data while this server leads.
pub(crate) struct Inspector {
    store: Arc<Store>,
    directory: Arc<Directory>,
    /// Between two comparisons of the whole store, if there shall be any.
    whole_every: Option<Duration>,
}

/// Another member's data differ from this one's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data of this member differ from those of {other} at revision {at}: one of the two is damaged")]
pub(crate) struct Differs {
    /// Its name.
    other: String,
    at: Revision,
}

/// How far the windows have come.
#[derive(Debug)]
struct Progress {
    /// Everything up to here is compared.
    upto: Revision,
    attempts: u32,
    /// When the next pass begins.
    rested: Instant,
}

impl Inspector {
    pub(crate) fn new(store: Arc<Store>, directory: Arc<Directory>, whole_every: Option<Duration>) -> Self {
        Self { store, directory, whole_every }
    }

    pub(crate) async fn run(self, stop: Stop) {
        if self.directory.members().iter().count() == 1 {
            return;
        }
        let mut windows = interval(PAUSE);
        windows.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let whole = self.whole_every.unwrap_or(REST);
        let mut wholes = interval_at(Instant::now() + whole, whole);
        wholes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = Progress { upto: Revision(0), attempts: 0, rested: Instant::now() };
        loop {
            let done = tokio::select! {
                () = stop.requested() => return,
                _ = windows.tick() => self.window(&mut progress).await,
                _ = wholes.tick(), if self.whole_every.is_some() => self.whole().await,
            };
            if let Err(error) = done {
                tracing::debug!(%error, "the members' data are not compared");
            }
        }
    }

    /// Compares this member's whole store with that of every member that can be reached: before a member serves
    /// anybody.
    pub(crate) async fn compare_at_start(&self) -> Result<Result<(), Differs>, Error> {
        let at = self.store.revision()?;
        let question = Question::Store { at };
        let own = self.own(question).await?;
        let mut others = self.others(question).await;
        // A server that has just started is not heard at once.
        for _ in 1..ATTEMPTS {
            if others.iter().all(|(_, told)| told.is_some()) {
                break;
            }
            sleep(self.store.timing().election_min).await;
            others = self.others(question).await;
        }
        for (other, told) in others {
            match told {
                Some(told) if told.compacted == own.compacted && told.crc != own.crc => {
                    return Ok(Err(Differs { other: other.name.clone(), at }));
                }
                Some(_) => {}
                None => tracing::warn!(member = other.name, "the data of a member are not compared with this one's"),
            }
        }
        Ok(Ok(()))
    }

    /// Compares the next window.
    async fn window(&self, progress: &mut Progress) -> Result<(), Error> {
        if !self.store.status().is_leader {
            return Ok(());
        }
        let view = self.store.view();
        let newest = kv::current_revision(&view)?;
        if progress.upto >= newest && Instant::now() >= progress.rested {
            progress.upto = Revision(0);
            progress.rested = Instant::now() + REST;
        }
        let after = progress.upto.max(kv::compacted_revision(&view)?.unwrap_or_default());
        let upto = newest.min(Revision(after.0.saturating_add(WINDOW)));
        if upto <= after {
            return Ok(());
        }
        let complete = self.compare(Question::Rows { after, upto }).await?;
        progress.attempts += 1;
        if complete || progress.attempts >= ATTEMPTS {
            (progress.upto, progress.attempts) = (upto, 0);
        }
        Ok(())
    }

    async fn whole(&self) -> Result<(), Error> {
        if self.store.status().is_leader {
            let at = self.store.revision()?;
            self.compare(Question::Store { at }).await?;
        }
        Ok(())
    }

    /// Asks everybody and raises the alarm for whoever is wrong. Whether all have answered.
    async fn compare(&self, question: Question) -> Result<bool, Error> {
        let own = self.own(question).await?;
        let members = self.directory.members();
        let mut sums = vec![(members.own_id(), own.crc)];
        let others = self.others(question).await;
        // A checksum of the whole store depends on what is compacted.
        let told = others.iter().filter_map(|(other, told)| {
            told.filter(|told| told.compacted == own.compacted || matches!(question, Question::Rows { .. }))
                .map(|told| (other.id, told.crc))
        });
        sums.extend(told);
        let total = members.iter().count();
        match judge(total, &sums) {
            Verdict::Agree => {}
            Verdict::Wait => tracing::error!(?question, ?sums, "members' data differ; who is right is not known yet"),
            Verdict::Differ(wrong) => self.alarm(question, &wrong).await?,
            Verdict::Undecided => self.alarm(question, &[MemberId(0)]).await?,
        }
        Ok(sums.len() == total)
    }

    async fn alarm(&self, question: Question, wrong: &[MemberId]) -> Result<(), Error> {
        for member in wrong {
            let alarm = Alarm { member: member.0, kind: AlarmKind::Corrupt };
            if !self.store.alarms()?.contains(&alarm) {
                tracing::error!(%member, ?question, "the data of a member differ from the others'");
                self.store.raise(Origin::system("integrity", request_id()), alarm).await?;
            }
        }
        Ok(())
    }

    async fn own(&self, question: Question) -> Result<Sum, Error> {
        let view = self.store.view();
        let answered = tokio::task::spawn_blocking(move || answer(&view, question)).await;
        let answered = answered.map_err(|join| Error::Storage(join.to_string()))??;
        Sum::of(answered).ok_or(Error::Compacted)
    }

    /// What the other members say; nothing of those that say nothing, or that are not as far.
    async fn others(&self, question: Question) -> Vec<(&Member, Option<Sum>)> {
        let members = self.directory.members();
        let others = members.iter().filter(|member| member.slot != members.own());
        join_all(others.map(|other| async move { (other, self.ask(other, question).await) })).await
    }

    async fn ask(&self, other: &Member, question: Question) -> Option<Sum> {
        let answer = self.store.group().ask(other.slot, question.encode().ok()?).await.ok()?;
        Sum::of(Answer::decode(&answer).ok()?)
    }
}

/// One member's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    crc: u32,
    compacted: Option<Revision>,
}

impl Sum {
    fn of(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Sum { crc, compacted } => Some(Self { crc, compacted }),
            Answer::Elsewhere => None,
        }
    }
}
