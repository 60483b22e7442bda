use std::collections::VecDeque;

use chainfire_core::kv::{Event, EventKind, Keys, Revision};
use futures::{Stream, stream};
use holdfast_proto::{etcdserverpb::ResponseHeader, mvccpb::KeyValue, v3electionpb::LeaderResponse};
use tonic::Status;

use super::{
    Inside, Line,
    inside::{Lookout, Seen},
    place::revision,
};
use crate::wire;

/// The present leader and every value that it proclaims; when it is gone, the next.
pub(super) fn leaders(inside: Inside, line: Line) -> impl Stream<Item = Result<LeaderResponse, Status>> + Send {
    let observer = Observer { inside, line, stage: Stage::Look, told: VecDeque::new() };
    stream::try_unfold(observer, |mut observer| async move {
        loop {
            if let Some(next) = observer.told.pop_front() {
                return Ok(Some((next, observer)));
            }
            observer.advance().await?;
        }
    })
}

struct Observer {
    inside: Inside,
    line: Line,
    stage: Stage,
    /// Seen, and not yet told.
    told: VecDeque<LeaderResponse>,
}

enum Stage {
    /// Who leads is not known.
    Look,
    /// Nobody does: the first who comes will.
    Vacant(Lookout),
    /// Somebody does.
    Following(Lookout),
}

impl Observer {
    async fn advance(&mut self) -> Result<(), Status> {
        let next = match &mut self.stage {
            Stage::Look => self.look().await?,
            Stage::Vacant(lookout) => match lookout.next(&self.inside).await? {
                Seen::Events { events, header } => {
                    match events.into_iter().find(|event| event.kind == EventKind::Put) {
                        Some(first) => self.follow(leader(first, header))?,
                        None => return Ok(()),
                    }
                }
                Seen::Compacted => Stage::Look,
            },
            Stage::Following(lookout) => match lookout.next(&self.inside).await? {
                Seen::Events { events, header } => {
                    let mut puts = events.into_iter().peekable();
                    while let Some(put) = puts.next_if(|event| event.kind == EventKind::Put) {
                        self.told.push_back(leader(put, header));
                    }
                    if puts.peek().is_none() {
                        return Ok(());
                    }
                    Stage::Look
                }
                Seen::Compacted => Stage::Look,
            },
        };
        self.stage = next;
        Ok(())
    }

    async fn look(&mut self) -> Result<Stage, Status> {
        let oldest = self.inside.range(self.line.oldest()).await?;
        match oldest.kvs.into_iter().next() {
            Some(kv) => Ok(self.follow(LeaderResponse { header: oldest.header, kv: Some(kv) })?),
            None => {
                let after = revision(oldest.header.as_ref()).saturating_add(1);
                Ok(Stage::Vacant(self.inside.watch(self.line.keys(), Revision(after))?))
            }
        }
    }

    /// Tells of a leader and watches what comes after.
    fn follow(&mut self, leader: LeaderResponse) -> Result<Stage, crate::Error> {
        let key = leader.kv.as_ref().map(|kv| kv.key.clone()).unwrap_or_default();
        let after = revision(leader.header.as_ref()).saturating_add(1);
        self.told.push_back(leader);
        Ok(Stage::Following(self.inside.watch(Keys::One(key), Revision(after))?))
    }
}

/// A put as an answer whose header has its revision, also when more than one came together.
fn leader(put: Event, header: ResponseHeader) -> LeaderResponse {
    let kv: KeyValue = wire::key_value(put.kv);
    LeaderResponse { header: Some(ResponseHeader { revision: kv.mod_revision, ..header }), kv: Some(kv) }
}
