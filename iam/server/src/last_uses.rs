//! When and from where access keys were used last: noted at each login, stored now and then.
//!
//! A login never waits for it. What cannot be stored, because there is no quorum or too much at once, is stored with the
//! next use.

use std::{collections::HashMap, net::SocketAddr};

use chainfire_core::{Origin, system::Expect};
use holdfast_service::Stop;
use iam_core::{
    PrincipalId,
    credential::{AccessKeyId, CredentialSet},
    credential_use::{LastUses, PRECISION_MS, Use},
    record::key,
};
use parking_lot::Mutex;
use tokio::sync::{
    Mutex as Taken,
    mpsc::{Receiver, Sender, channel},
};

use crate::{Error, Iam, iam::Inner, records::Change};

/// Uses that wait to be stored.
const QUEUE: usize = 256;
/// Access keys whose uses here are remembered.
const MOST: usize = 10_000;

/// The last uses on this server.
pub(crate) struct UsesHere {
    seen: Mutex<HashMap<AccessKeyId, Seen>>,
    due: Sender<Due>,
    queue: Taken<Receiver<Due>>,
}

struct Seen {
    last: Use,
    /// When it was last given to be stored.
    queued_ms: Option<u64>,
}

struct Due {
    principal: PrincipalId,
    id: AccessKeyId,
}

impl Default for UsesHere {
    fn default() -> Self {
        let (due, queue) = channel(QUEUE);
        Self { seen: Mutex::default(), due, queue: Taken::new(queue) }
    }
}

impl UsesHere {
    fn note(&self, principal: &PrincipalId, id: AccessKeyId, last: Use) {
        let mut seen = self.seen.lock();
        if seen.len() >= MOST && !seen.contains_key(&id) {
            // What they were is stored, but for the last hour.
            seen.clear();
        }
        let now_ms = last.at_ms;
        let known = seen.entry(id.clone()).or_insert_with(|| Seen { last: last.clone(), queued_ms: None });
        known.last = last;
        let is_due = known.queued_ms.is_none_or(|queued_ms| now_ms >= queued_ms.saturating_add(PRECISION_MS));
        if is_due && self.due.try_send(Due { principal: principal.clone(), id }).is_ok() {
            known.queued_ms = Some(now_ms);
        }
    }

    fn last(&self, id: &AccessKeyId) -> Option<Use> {
        self.seen.lock().get(id).map(|seen| seen.last.clone())
    }

    fn not_stored(&self, id: &AccessKeyId) {
        if let Some(seen) = self.seen.lock().get_mut(id) {
            seen.queued_ms = None;
        }
    }
}

impl Inner {
    /// The access key `name` of `principal` has let somebody in.
    pub(crate) fn used(&self, principal: &PrincipalId, name: &str, source: Option<SocketAddr>) {
        let Some(id) = AccessKeyId::parse(name) else { return };
        let from = source.map(|source| source.ip().to_string()).unwrap_or_default();
        let last = Use { at_ms: self.now_ms(), from, server: self.settings.member.clone() };
        self.last_uses.note(principal, id, last);
    }

    /// The last use of each access key of `principal`: on any server by what is stored, and on this one.
    pub(crate) fn last_uses(&self, principal: &PrincipalId) -> Result<LastUses, Error> {
        let set = self.records.get::<CredentialSet>(&key::credentials(principal))?;
        let stored = self.records.get::<LastUses>(&key::last_uses(principal))?;
        let mut known = stored.map(|stored| stored.value).unwrap_or_default();
        for credential in set.map(|set| set.value.credentials).unwrap_or_default() {
            let here = self.last_uses.last(&credential.id);
            let stored_ms = known.uses.get(&credential.id).map(|stored| stored.at_ms);
            if let Some(here) = here.filter(|here| Some(here.at_ms) > stored_ms) {
                known.uses.insert(credential.id, here);
            }
        }
        Ok(known)
    }

    async fn store_use(&self, due: &Due) -> Result<(), Error> {
        let Some(last) = self.last_uses.last(&due.id) else { return Ok(()) };
        let Some(set) = self.records.get::<CredentialSet>(&key::credentials(&due.principal))? else { return Ok(()) };
        let at = key::last_uses(&due.principal);
        let stored = self.records.get::<LastUses>(&at)?;
        let (expect, stored) =
            stored.map_or((Expect::Absent, LastUses::default()), |s| (Expect::Revision(s.revision), s.value));
        let remembered = |id: &AccessKeyId| set.value.credentials.iter().any(|credential| credential.id == *id);
        let Some(next) = stored.with(&due.id, last, remembered) else { return Ok(()) };
        let change = Change::new("iam.NoteUse", format!("access-key/{}", due.id.as_str()));
        let origin = Origin::system("iam", format!("use-{}", hex::encode(self.random::<8>()?)));
        self.records.commit(origin, change.expect(at.clone(), expect).put(at, &next)?).await.map(drop)
    }
}

impl Iam {
    /// Stores uses until `stop`.
    pub(crate) async fn keep_last_uses(&self, stop: &Stop) {
        let mut queue = self.0.last_uses.queue.lock().await;
        loop {
            let due = tokio::select! {
                () = stop.requested() => return,
                due = queue.recv() => due,
            };
            let Some(due) = due else { return };
            if let Err(error) = self.0.store_use(&due).await {
                tracing::debug!(%error, "the last use of an access key is not stored yet");
                self.0.last_uses.not_stored(&due.id);
            }
        }
    }
}
