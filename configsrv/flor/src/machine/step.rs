use std::time::Duration;

use configsrv_fleet::{Signer, Version, diff::Class};

use super::{
    AgentState, Carried, Guard, Looked, Now, Pending, Phase, Refused, SyncResult, Target, Told, World, boot, repair,
};

/// How much of a window may pass before what is left is written down again.
const WRITE_DOWN_MS: u64 = 10_000;

/// What may happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A verified and staged artifact is to become active.
    Offer(Offer),
    /// An artifact was refused before anything was touched.
    Refused { version: Option<Version>, reason: String },
    /// A sync ended, and nothing else is written down of it.
    Looked(Looked),
    /// How [`Effect::Activate`] ended.
    Activated(Result<(), Failure>),
    /// How [`Effect::Restore`] ended.
    Restored(Result<(), Failure>),
    /// The servers were reached and every probe held: this version, or whichever is pending.
    Confirm(Option<Version>),
    /// The servers were reached, and somebody answers for the probes, which were not asked.
    Unprobed(Option<Version>),
    /// Somebody keeps what a person brought here, though the servers are not reached.
    Keep(Option<Version>),
    /// Everything that this version names has held for long enough.
    Held { version: Version, evidence: String },
    /// Back to the old version now.
    Cancel,
    /// Somebody else changed these files, and they are to be written again.
    Drifted(Vec<String>),
    /// How [`Effect::Rewrite`] ended.
    Rewritten(Result<(), Failure>),
    /// The servers know what people brought here.
    Heard(Vec<Carried>),
    /// Time passed; and why nothing was confirmed meanwhile, if that is known.
    Tick(Option<String>),
    /// The agent looks at the disk for the first time.
    Boot,
}

#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub to: Target,
    /// Whose signature it carries.
    pub signed_by: Option<Signer>,
    pub class: Class,
    pub signers: Vec<Signer>,
    /// Without a window the version is confirmed as soon as it is active.
    pub window: Option<Duration>,
    /// Replaces a change that is under way; the way back stays the same.
    pub supersede: bool,
    /// Lets a content in again that failed here before.
    pub retry_rejected: bool,
    /// A person brought it here.
    pub carried: bool,
}

/// Why files or hooks did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub String);

/// What must be done, in order. A crash between two of them loses nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "few at a time, each for a moment")]
pub(crate) enum Effect {
    SaveState(AgentState),
    SavePending(Pending),
    ClearPending,
    /// Flips the pointer.
    Point(Option<Version>),
    /// Writes the files of `to` and runs the hooks of what differs from `from`; then [`Event::Activated`].
    Activate {
        from: Option<Version>,
        to: Version,
    },
    /// Brings the files back from `from` to `to`; then [`Event::Restored`].
    Restore {
        from: Version,
        to: Option<Version>,
    },
    /// Writes these files of a version again, and tells their programs; then [`Event::Rewritten`].
    Rewrite {
        version: Version,
        paths: Vec<String>,
    },
    /// Forgets what files were before a change touched them.
    DropOriginals,
    /// Removes all staged sets but these.
    Sweep {
        keep: Vec<Version>,
    },
    /// Tells the server, if it listens.
    Tell(Told),
}

/// Why an event does nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("version {version} is waiting for its confirmation; confirm it, wait, or use --supersede")]
    AlreadyPending { version: Version },
    #[error("version {offered} is older than version {confirmed}, which this node has confirmed: refused as a replay")]
    Replay { offered: Version, confirmed: Version },
    #[error("version {0} has other content than the version {0} that this node has confirmed")]
    SameNumber(Version),
    #[error("version {version} has the content that failed here ({reason}); --retry-rejected tries it again")]
    Rejected { version: Version, reason: String },
    #[error("nothing is waiting for a confirmation")]
    NothingPending,
    #[error("version {pending} is waiting for its confirmation, not version {asked}")]
    OtherPending { pending: Version, asked: Version },
    #[error("the window for version {0} is over: it is being rolled back")]
    Expired(Version),
    #[error(
        "version {0} came from the servers, so they must be reached through it: --local is for what sync --from brought"
    )]
    NotCarried(Version),
}

/// What speaks for keeping a version.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof {
    /// The servers were reached through it.
    Reached,
    /// The same, and what it names as probes has held.
    Held(String),
    /// The servers were reached; for its probes there is somebody's word.
    Unprobed,
    /// Nothing but somebody's word.
    Word,
}

/// What `event` demands in `world`. No effects means that all is as it should be.
pub(crate) fn step(world: &World, event: Event, now: &Now) -> Result<Vec<Effect>, Refusal> {
    match event {
        Event::Offer(offer) => take(world, offer, now),
        Event::Refused { version, reason } => Ok(refused(world, version, reason, now)),
        Event::Looked(looked) => {
            Ok(vec![Effect::SaveState(AgentState { looked: Some(looked), ..world.state.clone() })])
        }
        Event::Activated(outcome) => Ok(activated(world, outcome, now)),
        Event::Restored(outcome) => Ok(restored(world, outcome, now)),
        Event::Confirm(version) => confirm(world, version, Proof::Reached, now),
        Event::Held { version, evidence } => confirm(world, Some(version), Proof::Held(evidence), now),
        Event::Unprobed(version) => confirm(world, version, Proof::Unprobed, now),
        Event::Keep(version) => confirm(world, version, Proof::Word, now),
        Event::Cancel => cancel(world),
        Event::Drifted(paths) => Ok(repair::drifted(world, paths)),
        Event::Rewritten(outcome) => Ok(repair::rewritten(world, outcome, now)),
        Event::Heard(carried) => Ok(heard(world, &carried)),
        Event::Tick(not_yet) => Ok(tick(world, not_yet, now)),
        Event::Boot => Ok(boot::recover(world, now)),
    }
}

fn take(world: &World, offer: Offer, now: &Now) -> Result<Vec<Effect>, Refusal> {
    let state = &world.state;
    if let Some(confirmed) = state.confirmed {
        if offer.to.version < confirmed.version {
            return Err(Refusal::Replay { offered: offer.to.version, confirmed: confirmed.version });
        }
        if offer.to.version == confirmed.version && offer.to.digest != confirmed.digest {
            return Err(Refusal::SameNumber(offer.to.version));
        }
    }
    match &world.pending {
        Some(pending) if !offer.supersede || matches!(pending.phase, Phase::RollingBack { .. }) => {
            return Err(Refusal::AlreadyPending { version: pending.to.version });
        }
        None if state.confirmed == Some(offer.to) => return Ok(Vec::new()),
        _ => {}
    }
    if let (Some(rejected), false) = (state.rejection(&offer.to), offer.retry_rejected) {
        return Err(Refusal::Rejected { version: offer.to.version, reason: rejected.reason.clone() });
    }
    let before = world.active();
    let pending = Pending {
        // The way back always leads to what was confirmed.
        from: world.pending.as_ref().map_or(state.confirmed, |pending| pending.from),
        to: offer.to,
        signed_by: offer.signed_by,
        class: offer.class,
        signers: offer.signers,
        guard: offer.window.map(|window| Guard::new(window, now)),
        carried: offer.carried,
        phase: Phase::Activating,
    };
    let looked =
        Looked { at_ms: now.wall_ms, result: SyncResult::Applied, version: Some(offer.to.version), failure: None };
    let mut offered = AgentState {
        offered: state.offered.max(Some(offer.to.version)),
        refused: None,
        looked: Some(looked),
        ..state.clone()
    };
    if offer.carried {
        offered.carry(offer.to, false, now.wall_ms);
    }
    offered.release(&offer.to, now.wall_ms);
    let mut effects = vec![Effect::SaveState(offered.clone())];
    if world.pending.is_none() && state.degraded.is_none() {
        effects.push(Effect::DropOriginals);
    }
    if world.pending.is_none() && state.confirmed.is_some_and(|confirmed| confirmed.digest == offer.to.digest) {
        // Nothing but the number changes: there is nothing to confirm.
        let pending = Pending { guard: None, ..pending };
        effects.extend([Effect::SavePending(pending.clone()), Effect::Point(Some(offer.to.version))]);
        effects.extend(commit(&offered, &pending, now, Told::Adopted, "adopted"));
        return Ok(effects);
    }
    let to = offer.to.version;
    effects.extend([
        Effect::SavePending(pending),
        Effect::Tell(Told::Acknowledged),
        Effect::Point(Some(to)),
        Effect::Activate { from: before.map(|before| before.version), to },
    ]);
    Ok(effects)
}

/// The server is told each time, since it may not have heard it before; the disk is not written for the same again.
fn refused(world: &World, version: Option<Version>, reason: String, now: &Now) -> Vec<Effect> {
    let known = world.state.refused.as_ref();
    let told = Effect::Tell(Told::Rejected { version, reason: reason.clone() });
    if known.is_some_and(|known| known.version == version && known.reason == reason) {
        return vec![told];
    }
    let refused = Some(Refused { version, reason, at_ms: now.wall_ms });
    vec![Effect::SaveState(AgentState { refused, ..world.state.clone() }), told]
}

fn activated(world: &World, outcome: Result<(), Failure>, now: &Now) -> Vec<Effect> {
    let Some(pending) = &world.pending else { return Vec::new() };
    match outcome {
        Err(Failure(reason)) => roll_back(pending, reason, true),
        Ok(()) if pending.guard.is_none() => {
            commit(&world.state, pending, now, Told::Confirmed { evidence: None }, "committed")
        }
        Ok(()) => {
            vec![Effect::SavePending(Pending { phase: Phase::Guarded, ..pending.clone() }), Effect::Tell(Told::Pending)]
        }
    }
}

fn confirm(world: &World, version: Option<Version>, proof: Proof, now: &Now) -> Result<Vec<Effect>, Refusal> {
    let Some(pending) = &world.pending else {
        let confirmed = world.state.confirmed.map(|confirmed| confirmed.version);
        return if version.is_some() && version == confirmed { Ok(Vec::new()) } else { Err(Refusal::NothingPending) };
    };
    let target = pending.to.version;
    if let Some(asked) = version.filter(|asked| *asked != target) {
        return Err(Refusal::OtherPending { pending: target, asked });
    }
    if proof == Proof::Word && !pending.carried {
        return Err(Refusal::NotCarried(target));
    }
    let expired = pending.guard.as_ref().is_some_and(|guard| guard.left_ms(now) == 0);
    if expired || pending.phase != Phase::Guarded {
        return Err(Refusal::Expired(target));
    }
    let mut state = world.state.clone();
    let (word, evidence) = match proof {
        Proof::Reached => ("confirmed", None),
        Proof::Unprobed => {
            ("confirmed without its probes", Some("confirmed by a person; its probes were not asked".to_owned()))
        }
        Proof::Held(evidence) => ("confirmed by itself", Some(evidence)),
        Proof::Word => {
            state.carry(pending.to, true, now.wall_ms);
            (
                "confirmed without the servers",
                Some("kept by a person; neither servers nor probes were asked".to_owned()),
            )
        }
    };
    Ok(commit(&state, pending, now, Told::Confirmed { evidence }, word))
}

fn heard(world: &World, known: &[Carried]) -> Vec<Effect> {
    let mut state = world.state.clone();
    state.carried.retain(|carried| !known.contains(carried));
    if state == world.state { Vec::new() } else { vec![Effect::SaveState(state)] }
}

fn cancel(world: &World) -> Result<Vec<Effect>, Refusal> {
    match &world.pending {
        None => Err(Refusal::NothingPending),
        Some(Pending { phase: Phase::RollingBack { .. }, .. }) => Ok(Vec::new()),
        Some(pending) => Ok(roll_back(pending, "cancelled by the operator".to_owned(), true)),
    }
}

/// Whoever lets time pass has the turn, so nobody else is at work. A change that is neither active nor within its window
/// was cut off, e.g. by a full disk, and ends as a start would end it: nothing stays for ever that nobody confirmed.
fn tick(world: &World, not_yet: Option<String>, now: &Now) -> Vec<Effect> {
    let Some(pending) = &world.pending else { return Vec::new() };
    let kept = world.state.confirmed == Some(pending.to);
    let left = pending.guard.as_ref().map(|guard| (guard, guard.left_ms(now)));
    match (&pending.phase, left) {
        (Phase::Guarded, Some((_, 0))) if !kept => {
            let late = "not confirmed in time";
            let reason = not_yet.map_or_else(|| late.to_owned(), |not_yet| format!("{late}: {not_yet}"));
            roll_back(pending, reason, true)
        }
        (Phase::Activating | Phase::Guarded, Some((guard, left))) if !kept && left > 0 => {
            write_down(pending, guard, left, now)
        }
        _ => boot::finish(world, pending, now),
    }
}

/// What is left of a window, now and then.
fn write_down(pending: &Pending, guard: &Guard, left_ms: u64, now: &Now) -> Vec<Effect> {
    if guard.remaining_ms.saturating_sub(left_ms) < WRITE_DOWN_MS {
        return Vec::new();
    }
    vec![Effect::SavePending(Pending { guard: Some(guard.written_down(now)), ..pending.clone() })]
}

/// The end of a good change: the mark moves first, the record of the change goes last.
fn commit(state: &AgentState, pending: &Pending, now: &Now, told: Told, word: &str) -> Vec<Effect> {
    let previous = pending.from.map(|from| from.version);
    let mut state = AgentState {
        confirmed: Some(pending.to),
        signed_by: pending.signed_by.clone(),
        previous,
        signers: pending.signers.clone(),
        degraded: None,
        ..state.clone()
    };
    state.rejected.retain(|rejected| rejected.target.digest != pending.to.digest);
    state.note(word, pending.to.version, now.wall_ms);
    let keep = [Some(pending.to.version), previous].into_iter().flatten().collect();
    vec![
        Effect::SaveState(state),
        Effect::ClearPending,
        Effect::DropOriginals,
        Effect::Sweep { keep },
        Effect::Tell(told),
    ]
}

/// The way back. It is durable that it has begun before anything is touched, so that no confirmation overtakes it.
pub(super) fn roll_back(pending: &Pending, reason: String, reject: bool) -> Vec<Effect> {
    let to = pending.from.map(|from| from.version);
    vec![
        Effect::SavePending(Pending { phase: Phase::RollingBack { reason, reject }, ..pending.clone() }),
        Effect::Point(to),
        Effect::Restore { from: pending.to.version, to },
    ]
}

/// The end of the way back. It ends in the old version even when that one fails: going back and forth helps nobody.
fn restored(world: &World, outcome: Result<(), Failure>, now: &Now) -> Vec<Effect> {
    let Some(pending) = &world.pending else { return Vec::new() };
    let Phase::RollingBack { reason, reject } = &pending.phase else { return Vec::new() };
    let version = pending.to.version;
    let mut state = world.state.clone();
    if *reject {
        state.reject(pending.to, reason, now.wall_ms);
    }
    state.note("rolled back", version, now.wall_ms);
    let keep = pending.from.map(|from| from.version).into_iter().collect();
    match outcome {
        Ok(()) => vec![
            Effect::SaveState(state),
            Effect::ClearPending,
            Effect::DropOriginals,
            Effect::Sweep { keep },
            Effect::Tell(Told::RolledBack { version, reason: reason.clone() }),
        ],
        Err(Failure(failure)) => {
            let reason = format!("{reason}; and the way back failed: {failure}");
            state.degraded = Some(reason.clone());
            // What files were before stays, for the next change or for a person.
            vec![Effect::SaveState(state), Effect::ClearPending, Effect::Tell(Told::Degraded { version, reason })]
        }
    }
}
