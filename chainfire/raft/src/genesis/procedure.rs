use std::time::Duration;

use futures::future::join_all;
use holdfast_rpc::handshake_advice;
use holdfast_service::Stop;
use tokio::time::{Instant, sleep};

use super::{Known, random_uuid};
use crate::{
    Error, GroupId, RaftId, Slot,
    error::RUNBOOK,
    network::{CallError, Dialer, FormedV1, ProbeAnswerV1, ProbeV1, decode, encode},
};

const PAUSE: Duration = Duration::from_millis(250);
const REMIND_EVERY: Duration = Duration::from_secs(10);
/// Servers that are started together are there by then.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// What one round of probes has shown.
enum Round {
    /// This server belongs to a cluster now.
    Formed(FormedV1),
    /// A cluster knows this slot with another disk.
    Lost(FormedV1),
    /// Not yet, and why.
    Wait(String),
    /// Not as things are: somebody's configuration is wrong, and nobody can tell whose.
    Mistake(String),
}

/// What this server is to the cluster.
pub(crate) enum Place {
    /// It takes part.
    Member,
    /// It has lost its disk, and was told to ask for its place in this cluster.
    Lost(FormedV1),
}

/// Finds the cluster that this server belongs to. A new server waits here until the cluster is formed: the lowest
/// slot begins it when every configured member has answered *empty, same configuration*; the others take part once
/// they see themselves among its members. Whoever finds a cluster without being in it has lost its disk.
///
/// With `rejoin` an empty server begins nothing: it waits until it finds the cluster that it was part of.
pub(crate) async fn join(known: &Known, dialer: &Dialer, rejoin: bool, stop: &Stop) -> Result<Place, Error> {
    if known.formed().is_some() {
        if rejoin {
            tracing::warn!("--rejoin-wiped is for a server without data; this one has its own, and the flag no effect");
        }
        return Ok(Place::Member);
    }
    if rejoin && known.cluster().members.len() == 1 {
        return Err(Error::Refused(format!("there are no other servers to rejoin: only a restore helps; {RUNBOOK}")));
    }
    let mut remind = Instant::now() + FIRST_WORD;
    let mut warned = None;
    loop {
        let round = tokio::select! {
            () = stop.requested() => return Err(Error::Stopped),
            round = probe_all(known, dialer, rejoin) => round?,
        };
        let now = Instant::now();
        match round {
            Round::Formed(formed) => {
                known.form(&formed)?;
                tracing::info!(cluster = %uuid::Uuid::from_bytes(formed.cluster), "part of the cluster");
                return Ok(Place::Member);
            }
            Round::Lost(formed) => return Ok(Place::Lost(formed)),
            Round::Wait(reason) if now >= remind => {
                tracing::info!(reason, "the cluster is not formed yet");
                remind = now + REMIND_EVERY;
            }
            Round::Mistake(reason) if now >= remind || warned.as_ref() != Some(&reason) => {
                tracing::warn!(reason, "the cluster cannot be formed until a configuration is corrected");
                (remind, warned) = (now + REMIND_EVERY, Some(reason));
            }
            Round::Wait(_) | Round::Mistake(_) => {}
        }
        tokio::select! {
            () = stop.requested() => return Err(Error::Stopped),
            () = sleep(PAUSE) => {}
        }
    }
}

async fn probe_all(known: &Known, dialer: &Dialer, rejoin: bool) -> Result<Round, Error> {
    let own = known.id();
    let others = known.cluster().slots().filter(|(slot, _)| *slot != own.slot());
    let probes = others.map(|(slot, member)| async move { (slot, member, probe(known, dialer, slot).await) });
    let mut ids = vec![own];
    let (mut silent, mut mistakes) = (Vec::new(), Vec::new());
    for (slot, member, answer) in join_all(probes).await {
        let name = &member.name;
        let answer = match answer {
            Ok(answer) => answer,
            Err(CallError::Refused(reason)) => {
                mistakes.push(format!("{name} refuses this server: {reason}"));
                continue;
            }
            Err(CallError::NotSent(reason) | CallError::Lost(reason)) => {
                let advice = handshake_advice(&reason).map(|advice| format!(" ({advice})")).unwrap_or_default();
                silent.push(format!("{name} at {}: {reason}{advice}", member.address));
                continue;
            }
        };
        if let Some(difference) = known.cluster().difference(&answer.cluster, &format!("on {name}")) {
            if answer.formed.is_some() {
                return Err(Error::Membership(difference));
            }
            mistakes.push(difference);
            continue;
        }
        let id = RaftId::from_u64(answer.id);
        if id.slot() != slot {
            mistakes.push(format!("{name} says that it is slot {}, not {slot}", id.slot()));
            continue;
        }
        if let Some(formed) = answer.formed {
            return belong(own, formed, name, rejoin);
        }
        ids.push(id);
    }
    if !mistakes.is_empty() {
        return Ok(Round::Mistake(mistakes.join("; ")));
    }
    if !silent.is_empty() {
        return Ok(Round::Wait(silent.join("; ")));
    }
    if rejoin {
        return Ok(Round::Mistake(
            "this server was told to rejoin a cluster, but no other server has data of one".into(),
        ));
    }
    if own.slot() != Slot(0) {
        return Ok(Round::Wait("all members are empty; the first of them will begin".into()));
    }
    ids.sort_unstable();
    let members = ids.into_iter().map(RaftId::to_u64).collect();
    Ok(Round::Formed(FormedV1 { cluster: *random_uuid()?.as_bytes(), members }))
}

/// An empty server has found a cluster. It was there when it began, or it has lost its disk since.
fn belong(own: RaftId, formed: FormedV1, name: &str, rejoin: bool) -> Result<Round, Error> {
    if formed.members.contains(&own.to_u64()) {
        return Ok(Round::Formed(formed));
    }
    if rejoin {
        return Ok(Round::Lost(formed));
    }
    Err(Error::Refused(format!(
        "this server's data folder is empty, but {name} holds data of a cluster in which slot {} had another disk. \
         Votes and entries that this slot has acknowledged are gone, so it must not take part under the old identity: \
         restore the lost disk, or start this server with --rejoin-wiped while the others are a majority; {RUNBOOK}",
        own.slot()
    )))
}

async fn probe(known: &Known, dialer: &Dialer, slot: Slot) -> Result<ProbeAnswerV1, CallError> {
    let lost = |error: holdfast_format::Error| CallError::Lost(error.to_string());
    let body = encode(&ProbeV1 { cluster: known.cluster().clone() }).map_err(lost)?;
    // The receiver's incarnation is what the probe asks for.
    let request = dialer.request(GroupId(0), RaftId::from_u64(0), body);
    let within = dialer.timing().election_min;
    let answer = dialer.call(slot, within, |mut client| async move { client.probe(request).await }).await?;
    decode(&answer).map_err(lost)
}
