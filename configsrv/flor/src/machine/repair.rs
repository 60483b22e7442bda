use super::{AgentState, Effect, Failure, Now, Repaired, World};

/// Somebody else changed these files of what is confirmed. It is durable which of them are written again before the first
/// is, so that no crash leaves a program untold.
pub(super) fn drifted(world: &World, paths: Vec<String>) -> Vec<Effect> {
    let Some(confirmed) = world.state.confirmed.filter(|_| world.pending.is_none() && !paths.is_empty()) else {
        return Vec::new();
    };
    let state = AgentState { repairing: paths.clone(), ..world.state.clone() };
    vec![Effect::SaveState(state), Effect::Rewrite { version: confirmed.version, paths }]
}

/// What a start finds of a repair that was cut off.
pub(super) fn resumed(world: &World) -> Vec<Effect> {
    match world.state.confirmed {
        Some(confirmed) if !world.state.repairing.is_empty() => {
            vec![Effect::Rewrite { version: confirmed.version, paths: world.state.repairing.clone() }]
        }
        _ => Vec::new(),
    }
}

/// The end of a repair, good or not: it is not tried for ever.
pub(super) fn rewritten(world: &World, outcome: Result<(), Failure>, now: &Now) -> Vec<Effect> {
    let mut state = world.state.clone();
    let paths = std::mem::take(&mut state.repairing);
    let failure = outcome.err().map(|Failure(reason)| reason);
    state.repaired = Some(Repaired { paths, at_ms: now.wall_ms, failure });
    vec![Effect::SaveState(state)]
}
