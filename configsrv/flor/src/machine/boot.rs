use super::{Effect, Now, Pending, Phase, World, repair, step::roll_back};

/// What an agent finds when it starts, after a clean stop, a kill, a crash or a loss of power.
pub(super) fn recover(world: &World, now: &Now) -> Vec<Effect> {
    match &world.pending {
        None => repoint(world).into_iter().chain(repair::resumed(world)).collect(),
        Some(pending) => finish(world, pending, now),
    }
}

/// Without a change under way the pointer names what is confirmed.
fn repoint(world: &World) -> Vec<Effect> {
    let confirmed = world.state.confirmed.map(|confirmed| confirmed.version);
    if world.current == confirmed { Vec::new() } else { vec![Effect::Point(confirmed)] }
}

/// Brings a change to its end that was cut off, or lets it go on within its window.
pub(super) fn finish(world: &World, pending: &Pending, now: &Now) -> Vec<Effect> {
    let to = pending.to.version;
    let from = pending.from.map(|from| from.version);
    if world.state.confirmed == Some(pending.to) {
        // Confirmed; only the tidying up was cut off.
        return vec![Effect::Point(Some(to)), Effect::ClearPending, Effect::DropOriginals];
    }
    if let Phase::RollingBack { .. } = pending.phase {
        return vec![Effect::Point(from), Effect::Restore { from: to, to: from }];
    }
    if world.current != Some(to) {
        if world.current == from {
            // Cut off before anything was touched.
            return vec![Effect::ClearPending, Effect::DropOriginals];
        }
        // It was to replace a change that is active now, whose own record is gone: the way back is the same.
        return roll_back(pending, "the change that replaced it was cut off".to_owned(), false);
    }
    let Some(guard) = &pending.guard else {
        // Nobody can say how far it came.
        return roll_back(pending, "the activation was cut off".to_owned(), false);
    };
    if guard.left_ms(now) == 0 {
        return roll_back(pending, "not confirmed in time".to_owned(), true);
    }
    let mut effects = Vec::new();
    if guard.armed_boot != now.boot {
        effects.push(Effect::SavePending(Pending { guard: Some(guard.written_down(now)), ..pending.clone() }));
    }
    if pending.phase == Phase::Activating {
        effects.push(Effect::Activate { from, to });
    }
    effects
}
