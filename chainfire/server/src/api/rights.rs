//! Rights of callers whose streams outlive the moment in which they were judged.

use std::{sync::Arc, time::Duration};

use iam_client::KeyAccess;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Etcd, caller::Caller};
use crate::{Error, watch::Subscription};

/// How soon a change of rights reaches a stream.
const RECHECK: Duration = Duration::from_secs(1);
/// So many of these pass before a stream is looked at although nothing changed: its token may have expired.
const UNCHANGED: u32 = 10;

/// Ends the stream of `subscription` once its caller may no longer have what it watches.
pub(super) async fn watch_over(etcd: &Etcd, caller: &Caller, subscription: &Arc<Subscription>) {
    let mut rounds = interval_at(Instant::now() + RECHECK, RECHECK);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The revision of the policy at the last look, and how many rounds it has been the same since.
    let (mut last, mut unchanged) = (policy_revision(etcd), 0);
    loop {
        rounds.tick().await;
        let now = policy_revision(etcd);
        if now == last && unchanged < UNCHANGED {
            unchanged += 1;
            continue;
        }
        match look(etcd, caller, subscription) {
            Ok(()) => (last, unchanged) = (now, 0),
            // This server cannot tell at the moment; it looks again in the next round.
            Err(Error::Unhealthy(_)) => {}
            Err(Error::UserEmpty | Error::InvalidAuthToken) => return subscription.end(Error::PermissionDenied),
            Err(other) => return subscription.end(other),
        }
    }
}

fn look(etcd: &Etcd, caller: &Caller, subscription: &Arc<Subscription>) -> Result<(), Error> {
    let caller = etcd.as_of_now(caller)?;
    let mut watched = subscription.outbox().watched();
    watched.dedup();
    watched.iter().try_for_each(|keys| etcd.permit_keys(&caller, KeyAccess::Read, keys))
}

fn policy_revision(etcd: &Etcd) -> u64 {
    match (&etcd.users, &etcd.doors.login) {
        (Some(users), _) => users.epoch().unwrap_or(0),
        (None, Some(login)) => login.revision(),
        (None, None) => 0,
    }
}
