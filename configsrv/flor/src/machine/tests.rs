//! Every transition, every state that a start can find, every way in which clocks move.

use std::time::Duration;

use configsrv_fleet::{Digest, Version, diff::Class};

use super::*;

const WINDOW: Duration = Duration::from_secs(300);
const WALL: u64 = 1_800_000_000_000;

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// A version with a content of its own.
fn target(number: u64) -> Target {
    Target { version: version(number), digest: Digest::of(&number.to_be_bytes()) }
}

/// Another number for the content of `like`.
fn renumbered(number: u64, like: u64) -> Target {
    Target { version: version(number), ..target(like) }
}

/// So many seconds after the beginning.
fn at(seconds: u64) -> Now {
    Now { wall_ms: WALL + seconds * 1000, uptime_ms: 10_000 + seconds * 1000, boot: BootId("first".into()) }
}

/// After a reboot: the uptime begins anew.
fn rebooted(wall_seconds: u64) -> Now {
    Now { uptime_ms: 5_000, boot: BootId("second".into()), ..at(wall_seconds) }
}

fn offer(to: Target) -> Offer {
    Offer {
        to,
        signed_by: None,
        class: Class::Files,
        signers: Vec::new(),
        window: Some(WINDOW),
        supersede: false,
        retry_rejected: false,
        carried: false,
    }
}

fn committed(number: u64) -> World {
    World {
        state: AgentState { confirmed: Some(target(number)), ..AgentState::default() },
        pending: None,
        current: Some(version(number)),
    }
}

/// A world, and everything that was done to it; activations end as told.
struct Run {
    world: World,
    done: Vec<Effect>,
    activation: Result<(), Failure>,
    restoration: Result<(), Failure>,
}

impl Run {
    fn new(world: World) -> Self {
        Self { world, done: Vec::new(), activation: Ok(()), restoration: Ok(()) }
    }

    fn feed(&mut self, event: Event, now: &Now) -> Result<(), Refusal> {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in step(&self.world, event, now)? {
                match &effect {
                    Effect::Activate { .. } => events.push(Event::Activated(self.activation.clone())),
                    Effect::Restore { .. } => events.push(Event::Restored(self.restoration.clone())),
                    _ => {}
                }
                self.world.apply(&effect);
                self.done.push(effect);
            }
        }
        Ok(())
    }

    fn told(&self) -> Vec<&Told> {
        self.done
            .iter()
            .filter_map(|effect| match effect {
                Effect::Tell(told) => Some(told),
                _ => None,
            })
            .collect()
    }

    fn position(&self, wanted: impl Fn(&Effect) -> bool) -> usize {
        self.done.iter().position(wanted).expect("it was done")
    }

    #[track_caller]
    fn is_committed(&self, number: u64) {
        assert_eq!(self.world.pending, None);
        assert_eq!(self.world.state.confirmed, Some(target(number)));
        assert_eq!(self.world.current, Some(version(number)));
    }
}

/// Version 2 under guard since second 0, on top of version 1.
fn guarded() -> Run {
    let mut run = Run::new(committed(1));
    run.feed(Event::Offer(offer(target(2))), &at(0)).unwrap();
    run.done.clear();
    run
}

#[test]
fn a_change_is_durable_before_anything_is_touched() {
    let mut run = Run::new(committed(1));
    run.feed(Event::Offer(offer(target(2))), &at(0)).unwrap();
    let pending = run.position(|effect| matches!(effect, Effect::SavePending(_)));
    let told = run.position(|effect| *effect == Effect::Tell(Told::Acknowledged));
    let pointed = run.position(|effect| *effect == Effect::Point(Some(version(2))));
    let activated = run.position(|effect| matches!(effect, Effect::Activate { .. }));
    assert!(pending < told && told < pointed && pointed < activated, "{:?}", run.done);
    let pending = run.world.pending.as_ref().unwrap();
    assert_eq!((pending.from, &pending.phase), (Some(target(1)), &Phase::Guarded));
    assert_eq!(run.world.active(), Some(target(2)));
    assert_eq!(run.world.state.confirmed, Some(target(1)), "the mark moves on confirm only");
    assert_eq!(run.told(), [&Told::Acknowledged, &Told::Pending]);
}

#[test]
fn confirm_keeps_it_and_comes_before_the_tidying() {
    let mut run = guarded();
    run.feed(Event::Confirm(Some(version(2))), &at(299)).unwrap();
    run.is_committed(2);
    let saved = run.position(|effect| matches!(effect, Effect::SaveState(_)));
    let cleared = run.position(|effect| *effect == Effect::ClearPending);
    assert!(saved < cleared);
    assert_eq!(run.told(), [&Told::Confirmed { evidence: None }]);
    assert!(run.done.contains(&Effect::Sweep { keep: vec![version(2), version(1)] }));
    // Again is fine; without a number there is nothing to confirm.
    assert_eq!(step(&run.world, Event::Confirm(Some(version(2))), &at(300)), Ok(Vec::new()));
    assert_eq!(step(&run.world, Event::Confirm(None), &at(300)), Err(Refusal::NothingPending));
}

#[test]
fn what_has_held_is_kept_and_told_with_the_evidence() {
    let mut run = guarded();
    let held = |number| Event::Held { version: version(number), evidence: "2 probes".into() };
    assert!(matches!(step(&run.world, held(1), &at(1)), Err(Refusal::OtherPending { .. })));
    assert_eq!(step(&run.world, held(2), &at(300)), Err(Refusal::Expired(version(2))));
    run.feed(held(2), &at(299)).unwrap();
    run.is_committed(2);
    assert_eq!(run.told(), [&Told::Confirmed { evidence: Some("2 probes".into()) }]);
    assert_eq!(run.world.state.last.as_ref().unwrap().result, "confirmed by itself");
}

#[test]
fn confirm_names_what_is_pending() {
    let run = guarded();
    let other = Refusal::OtherPending { pending: version(2), asked: version(1) };
    assert_eq!(step(&run.world, Event::Confirm(Some(version(1))), &at(1)), Err(other));
    assert_eq!(step(&committed(1), Event::Confirm(Some(version(2))), &at(1)), Err(Refusal::NothingPending));
}

#[test]
fn the_deadline_goes_back_and_remembers() {
    let mut run = guarded();
    run.feed(Event::Tick(None), &at(299)).unwrap();
    assert!(run.world.pending.is_some());
    assert_eq!(step(&run.world, Event::Confirm(None), &at(300)), Err(Refusal::Expired(version(2))));
    run.feed(Event::Tick(Some("probe ledger: refused".into())), &at(300)).unwrap();
    run.is_committed(1);
    assert_eq!(run.world.state.rejected.len(), 1);
    let reason = "not confirmed in time: probe ledger: refused".to_owned();
    assert_eq!(run.told(), [&Told::RolledBack { version: version(2), reason: reason.clone() }]);
    assert_eq!(
        step(&run.world, Event::Offer(offer(target(2))), &at(301)),
        Err(Refusal::Rejected { version: version(2), reason: reason.clone() })
    );
    // The same content under another number is the same failure.
    let again = offer(renumbered(3, 2));
    assert_eq!(
        step(&run.world, Event::Offer(again.clone()), &at(301)),
        Err(Refusal::Rejected { version: version(3), reason })
    );
    run.feed(Event::Offer(Offer { retry_rejected: true, ..again }), &at(301)).unwrap();
    assert_eq!(run.world.state.rejected, [], "it is let in again");
    let released = Released { version: version(2), at_ms: at(301).wall_ms };
    assert_eq!(run.world.state.released, Some(released), "by the number under which it failed");
    run.feed(Event::Confirm(None), &at(302)).unwrap();
    assert_eq!((run.world.state.rejected, run.world.state.released), (Vec::new(), Some(released)));
}

#[test]
fn what_is_refused_is_told_each_time_and_written_once() {
    let mut run = Run::new(committed(1));
    let refused = || Event::Refused { version: Some(version(2)), reason: "not signed".into() };
    run.feed(refused(), &at(0)).unwrap();
    run.feed(refused(), &at(1)).unwrap();
    run.is_committed(1);
    assert_eq!(run.told().len(), 2);
    assert_eq!(run.done.iter().filter(|effect| matches!(effect, Effect::SaveState(_))).count(), 1);
    assert_eq!(run.world.state.refused.as_ref().unwrap().at_ms, WALL);
    run.feed(Event::Offer(offer(target(2))), &at(2)).unwrap();
    assert_eq!(run.world.state.refused, None, "it is followed by what is accepted");
}

#[test]
fn a_failed_activation_goes_back_at_once() {
    let mut run = Run::new(committed(1));
    run.activation = Err(Failure("the hook said no".into()));
    run.feed(Event::Offer(offer(target(2))), &at(0)).unwrap();
    run.is_committed(1);
    assert_eq!(run.world.state.rejection(&target(2)).unwrap().reason, "the hook said no");
    assert!(run.done.contains(&Effect::Restore { from: version(2), to: Some(version(1)) }));
}

#[test]
fn a_failed_way_back_stays_and_alarms() {
    let mut run = guarded();
    run.restoration = Err(Failure("disk full".into()));
    run.feed(Event::Tick(None), &at(300)).unwrap();
    run.is_committed(1);
    assert!(run.world.state.degraded.as_ref().unwrap().contains("disk full"));
    assert!(!run.done.contains(&Effect::DropOriginals), "what files were is still needed");
    assert!(matches!(run.told().as_slice(), [Told::Degraded { .. }]));
    let mut next = Run::new(run.world);
    next.feed(Event::Offer(offer(target(3))), &at(400)).unwrap();
    assert!(!next.done.contains(&Effect::DropOriginals));
    next.feed(Event::Confirm(None), &at(401)).unwrap();
    assert_eq!(next.world.state.degraded, None);
}

#[test]
fn without_a_window_there_is_nothing_to_wait_for() {
    let mut run = Run::new(committed(1));
    run.feed(Event::Offer(Offer { window: None, ..offer(target(2)) }), &at(0)).unwrap();
    run.is_committed(2);
    assert_eq!(run.told(), [&Told::Acknowledged, &Told::Confirmed { evidence: None }]);
}

#[test]
fn the_same_content_is_only_a_number() {
    let mut run = Run::new(committed(1));
    let to = renumbered(2, 1);
    run.feed(Event::Offer(Offer { class: Class::Noop, ..offer(to) }), &at(0)).unwrap();
    assert_eq!(
        (run.world.state.confirmed, run.world.current, run.world.pending.clone()),
        (Some(to), Some(version(2)), None)
    );
    assert!(!run.done.iter().any(|effect| matches!(effect, Effect::Activate { .. })));
    assert_eq!(run.told(), [&Told::Adopted]);
}

#[test]
fn replays_and_forks_are_refused_and_repeats_do_nothing() {
    let world = committed(5);
    let refused = |to| step(&world, Event::Offer(offer(to)), &at(0));
    assert_eq!(refused(target(4)), Err(Refusal::Replay { offered: version(4), confirmed: version(5) }));
    assert_eq!(refused(renumbered(5, 9)), Err(Refusal::SameNumber(version(5))));
    assert_eq!(refused(target(5)), Ok(Vec::new()));
}

#[test]
fn one_change_at_a_time_unless_it_is_replaced() {
    let mut run = guarded();
    assert_eq!(
        step(&run.world, Event::Offer(offer(target(3))), &at(100)),
        Err(Refusal::AlreadyPending { version: version(2) })
    );
    run.feed(Event::Offer(Offer { supersede: true, ..offer(target(3)) }), &at(100)).unwrap();
    let pending = run.world.pending.clone().unwrap();
    assert_eq!((pending.to, pending.from), (target(3), Some(target(1))), "the way back leads to what was confirmed");
    assert!(run.done.contains(&Effect::Activate { from: Some(version(2)), to: version(3) }));
    assert!(!run.done.contains(&Effect::DropOriginals));
    // The window begins anew.
    run.feed(Event::Tick(None), &at(399)).unwrap();
    assert!(run.world.pending.is_some());
    run.feed(Event::Tick(None), &at(400)).unwrap();
    run.is_committed(1);
}

#[test]
fn cancel_goes_back_now() {
    let mut run = guarded();
    run.feed(Event::Cancel, &at(10)).unwrap();
    run.is_committed(1);
    assert_eq!(step(&run.world, Event::Cancel, &at(11)), Err(Refusal::NothingPending));
}

#[test]
fn the_first_configuration_goes_back_to_none() {
    let mut run = Run::new(World::default());
    run.feed(Event::Offer(offer(target(1))), &at(0)).unwrap();
    run.feed(Event::Tick(None), &at(300)).unwrap();
    assert_eq!((run.world.current, run.world.state.confirmed, run.world.pending.clone()), (None, None, None));
    assert!(run.done.contains(&Effect::Restore { from: version(1), to: None }));
}

#[test]
fn what_is_left_is_written_down_now_and_then() {
    let mut run = guarded();
    run.feed(Event::Tick(None), &at(9)).unwrap();
    assert_eq!(run.done, []);
    run.feed(Event::Tick(None), &at(10)).unwrap();
    let guard = run.world.pending.clone().unwrap().guard.unwrap();
    assert_eq!((guard.remaining_ms, guard.armed_uptime_ms), (290_000, 20_000));
    assert_eq!(guard.left_ms(&at(10)), 290_000);
}

/// Version 2 in this phase, as a disk leaves it that did not take what followed.
fn cut_off(phase: Phase) -> World {
    let mut world = guarded().world;
    world.pending.as_mut().unwrap().phase = phase;
    world
}

/// The record of an activation that ended well could not be written.
#[test]
fn an_activation_whose_end_was_not_written_goes_back_at_the_deadline() {
    let mut run = Run::new(cut_off(Phase::Activating));
    run.feed(Event::Tick(None), &at(9)).unwrap();
    assert_eq!(run.done, [], "there is time left");
    run.feed(Event::Tick(None), &at(10)).unwrap();
    assert!(matches!(run.done.as_slice(), [Effect::SavePending(_)]), "and it is written down");
    run.feed(Event::Tick(None), &at(300)).unwrap();
    run.is_committed(1);
    assert_eq!(run.world.state.rejection(&target(2)).unwrap().reason, "not confirmed in time");
}

#[test]
fn a_way_back_that_was_cut_off_is_taken_up_by_the_next_look() {
    for current in [version(1), version(2)] {
        let world = cut_off(Phase::RollingBack { reason: "r".into(), reject: true });
        let mut run = Run::new(World { current: Some(current), ..world });
        run.feed(Event::Tick(None), &at(1)).unwrap();
        run.is_committed(1);
        assert!(run.done.contains(&Effect::Restore { from: version(2), to: Some(version(1)) }));
        assert_eq!(run.world.state.rejection(&target(2)).unwrap().reason, "r");
    }
}

#[test]
fn what_was_cut_off_without_a_window_does_not_wait_for_one() {
    let mut world = cut_off(Phase::Activating);
    world.pending.as_mut().unwrap().guard = None;
    let mut run = Run::new(world);
    run.feed(Event::Tick(None), &at(1)).unwrap();
    run.is_committed(1);
    assert_eq!(run.world.state.rejected, [], "nobody can say that it failed");
}

#[test]
fn time_takes_nothing_back_that_was_confirmed() {
    let mut world = guarded().world;
    world.state.confirmed = Some(target(2));
    let mut run = Run::new(world);
    run.feed(Event::Tick(None), &at(1000)).unwrap();
    run.is_committed(2);
    assert_eq!(run.done, [Effect::Point(Some(version(2))), Effect::ClearPending, Effect::DropOriginals]);
}

#[test]
fn what_was_never_pointed_at_is_discarded_at_the_deadline() {
    let mut run = Run::new(World { current: Some(version(1)), ..cut_off(Phase::Activating) });
    run.feed(Event::Tick(None), &at(300)).unwrap();
    run.is_committed(1);
    assert_eq!(run.world.state.rejected, []);
}

mod boot {
    use super::*;

    fn boot(world: World, now: &Now) -> Run {
        let mut run = Run::new(world);
        run.feed(Event::Boot, now).unwrap();
        run
    }

    #[test]
    fn nothing_pending_is_left_alone() {
        assert_eq!(boot(committed(1), &at(0)).done, []);
        assert_eq!(boot(World::default(), &at(0)).done, []);
        let lost = World { current: None, ..committed(1) };
        assert_eq!(boot(lost, &at(0)).done, [Effect::Point(Some(version(1)))]);
    }

    #[test]
    fn not_yet_flipped_is_discarded() {
        let mut world = guarded().world;
        world.current = Some(version(1));
        let run = boot(world, &at(1));
        run.is_committed(1);
        assert_eq!(run.done, [Effect::ClearPending, Effect::DropOriginals]);
        assert_eq!(run.world.state.rejected, []);
    }

    #[test]
    fn within_the_window_it_goes_on() {
        assert_eq!(boot(guarded().world, &at(100)).done, []);
        // Cut off while activating: activated again, within the same window.
        let mut world = guarded().world;
        world.pending.as_mut().unwrap().phase = Phase::Activating;
        let mut run = boot(world, &at(100));
        assert!(run.done.contains(&Effect::Activate { from: Some(version(1)), to: version(2) }));
        run.feed(Event::Tick(None), &at(300)).unwrap();
        run.is_committed(1);
    }

    #[test]
    fn past_the_deadline_it_goes_back_first() {
        let run = boot(guarded().world, &at(300));
        run.is_committed(1);
        assert!(!run.done.iter().any(|effect| matches!(effect, Effect::Activate { .. })));
        assert_eq!(run.world.state.rejected.len(), 1);
    }

    #[test]
    fn a_reboot_counts_by_the_clock_that_leaves_less() {
        // By the wall clock.
        boot(guarded().world, &rebooted(300)).is_committed(1);
        let mut run = boot(guarded().world, &rebooted(200));
        assert_eq!(run.world.pending.clone().unwrap().guard.unwrap().left_ms(&rebooted(200)), 100_000);
        run.feed(Event::Tick(None), &Now { uptime_ms: 105_000, ..rebooted(200) }).unwrap();
        run.is_committed(1);
        // The wall clock went back: what was written down counts, and nothing is gained by more reboots.
        let mut run = guarded();
        run.feed(Event::Tick(None), &at(250)).unwrap();
        let back = Now { wall_ms: WALL - 1_000_000, ..rebooted(0) };
        let run = boot(run.world, &back);
        assert_eq!(run.world.pending.clone().unwrap().guard.unwrap().left_ms(&back), 50_000);
    }

    #[test]
    fn within_a_boot_nobody_moves_the_deadline() {
        let forward = Now { wall_ms: WALL + 1_000_000, ..at(100) };
        assert_eq!(boot(guarded().world, &forward).done, []);
        let backward = Now { wall_ms: 0, ..at(300) };
        boot(guarded().world, &backward).is_committed(1);
    }

    #[test]
    fn confirmed_but_not_tidied_stays_confirmed() {
        let mut world = guarded().world;
        world.state.confirmed = Some(target(2));
        boot(world, &at(1000)).is_committed(2);
    }

    #[test]
    fn the_way_back_is_finished() {
        for current in [version(1), version(2)] {
            let mut world = guarded().world;
            world.current = Some(current);
            world.pending.as_mut().unwrap().phase = Phase::RollingBack { reason: "r".into(), reject: true };
            let run = boot(world, &at(1));
            run.is_committed(1);
            assert_eq!(run.world.state.rejection(&target(2)).unwrap().reason, "r");
        }
    }

    #[test]
    fn unguarded_and_cut_off_goes_back_without_blame() {
        let mut world = guarded().world;
        let pending = world.pending.as_mut().unwrap();
        (pending.guard, pending.phase) = (None, Phase::Activating);
        let run = boot(world, &at(1));
        run.is_committed(1);
        assert_eq!(run.world.state.rejected, []);
    }

    #[test]
    fn a_replacement_that_was_cut_off_goes_all_the_way_back() {
        let mut world = guarded().world;
        world.pending.as_mut().unwrap().to = target(3);
        let run = boot(world, &at(1));
        run.is_committed(1);
        assert!(run.done.contains(&Effect::Restore { from: version(3), to: Some(version(1)) }));
    }
}

#[test]
fn a_repair_is_durable_before_it_begins_and_is_finished_by_a_start() {
    let paths = vec!["/etc/shop".to_owned()];
    let mut world = committed(1);
    let effects = step(&world, Event::Drifted(paths.clone()), &at(0)).unwrap();
    let [Effect::SaveState(state), Effect::Rewrite { version: of, paths: due }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((&state.repairing, of, due), (&paths, &version(1), &paths));
    world.state = state.clone();
    assert_eq!(step(&world, Event::Boot, &at(1)).unwrap(), effects[1..]);
    let failed = Err(Failure("no".into()));
    let effects = step(&world, Event::Rewritten(failed), &at(2)).unwrap();
    let [Effect::SaveState(state)] = effects.as_slice() else { panic!("{effects:?}") };
    let repaired = Repaired { paths: paths.clone(), at_ms: at(2).wall_ms, failure: Some("no".into()) };
    assert_eq!((&state.repairing, &state.repaired), (&Vec::new(), &Some(repaired)));
    world.state = state.clone();
    assert_eq!(step(&world, Event::Boot, &at(3)).unwrap(), []);

    // What waits for its confirmation is not touched, and neither is a node without a version.
    assert_eq!(step(&guarded().world, Event::Drifted(paths.clone()), &at(1)).unwrap(), []);
    assert_eq!(step(&World::default(), Event::Drifted(paths), &at(1)).unwrap(), []);
    assert_eq!(step(&world, Event::Drifted(Vec::new()), &at(3)).unwrap(), []);
}

#[test]
fn what_a_person_brought_is_kept_by_their_word_alone() {
    let brought = || Offer { carried: true, ..offer(target(2)) };
    let mut run = Run::new(committed(1));
    run.feed(Event::Offer(brought()), &at(0)).unwrap();
    let known = run.world.state.carried.clone();
    assert_eq!(known, [Carried { version: version(2), digest: target(2).digest, at_ms: WALL, unproven: false }]);
    run.feed(Event::Heard(known), &at(1)).unwrap();
    assert_eq!(run.world.state.carried, []);
    run.feed(Event::Keep(Some(version(2))), &at(2)).unwrap();
    run.is_committed(2);
    assert!(run.world.state.carried[0].unproven, "the servers are to know that, too");
    assert!(matches!(run.told().last(), Some(Told::Confirmed { evidence: Some(_) })));

    // The servers were reached a moment ago; reaching them is what a confirmation means.
    assert_eq!(guarded().feed(Event::Keep(None), &at(1)), Err(Refusal::NotCarried(version(2))));
    let mut late = Run::new(committed(1));
    late.feed(Event::Offer(brought()), &at(0)).unwrap();
    assert_eq!(late.feed(Event::Keep(None), &at(300)), Err(Refusal::Expired(version(2))));
}
