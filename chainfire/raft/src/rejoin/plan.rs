use super::Roster;
use crate::{RaftId, Slot};

/// What a leader that has proven its leadership does to the membership next. Each step is one change of it; whoever
/// leads after a crash finds from the membership alone which step comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing is left to do.
    Rest,
    /// Ends the change of voters that another leader has begun.
    Settle,
    /// Takes the vote from a disk that is lost.
    Remove(RaftId),
    /// Lets a learner go that has lost its disk again.
    Dismiss(RaftId),
    /// Lets the new disk learn.
    Admit(RaftId),
    /// Gives the new disk a vote, once it has matched what was committed after the removal.
    Promote(RaftId),
}

/// Why a server is not let in now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("slot {0} is being given its place back; one server at a time")]
    Busy(Slot),
    #[error("it is the last voter; only a restore helps")]
    LastVoter,
}

/// What is left of a rejoin that was begun, whoever has begun it.
pub(crate) fn unfinished(roster: &Roster) -> Step {
    if roster.is_joint() {
        return Step::Settle;
    }
    match roster.learners().next() {
        None => Step::Rest,
        Some(learner) if roster.voter_in(learner.slot()).is_some() => Step::Dismiss(learner),
        Some(learner) => Step::Promote(learner),
    }
}

/// What comes next until `who`, which has proven its slot, may run Raft in a cluster of `members`. [`Step::Rest`] says
/// that it may.
pub(crate) fn requested(roster: &Roster, who: RaftId, members: u16) -> Result<Step, Refusal> {
    let slot = who.slot();
    if roster.is_joint() {
        return Ok(Step::Settle);
    }
    if roster.contains(who) {
        return Ok(Step::Rest);
    }
    if let Some(busy) = roster.without_vote(members).find(|busy| *busy != slot) {
        return Err(Refusal::Busy(busy));
    }
    if let Some(learner) = roster.learner_in(slot) {
        return Ok(Step::Dismiss(learner));
    }
    match roster.voter_in(slot) {
        Some(_) if roster.voters().count() == 1 => Err(Refusal::LastVoter),
        Some(voter) => Ok(Step::Remove(voter)),
        None => Ok(Step::Admit(who)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u16, incarnation: u64) -> RaftId {
        RaftId::from_u64(u64::from(slot) << 48 | incarnation)
    }

    /// What `step` makes of voters and learners, each change of voters in two halves.
    fn after(step: Step, voters: &mut Vec<Vec<RaftId>>, learners: &mut Vec<RaftId>) {
        let current = voters.last().unwrap().clone();
        match step {
            Step::Rest => {}
            Step::Settle => *voters = vec![current],
            Step::Remove(id) => voters.push(current.into_iter().filter(|voter| *voter != id).collect()),
            Step::Dismiss(id) => learners.retain(|learner| *learner != id),
            Step::Admit(id) => learners.push(id),
            Step::Promote(id) => {
                learners.retain(|learner| *learner != id);
                voters.push(current.into_iter().chain([id]).collect());
            }
        }
    }

    fn roster(voters: &[Vec<RaftId>], learners: &[RaftId]) -> Roster {
        let sets: Vec<&[RaftId]> = voters.iter().map(Vec::as_slice).collect();
        Roster::new(&sets, learners)
    }

    /// §0 "Wiped member": removal, learner, promotion, in this order, and each is found again after a crash.
    #[test]
    fn an_old_disk_leaves_before_the_new_one_learns_and_it_learns_before_it_votes() {
        let (old, new) = (id(2, 1), id(2, 2));
        let (mut voters, mut learners) = (vec![vec![id(0, 1), id(1, 1), old]], Vec::new());
        let mut taken = Vec::new();
        loop {
            let step = requested(&roster(&voters, &learners), new, 3).unwrap();
            if step == Step::Rest {
                break;
            }
            taken.push(step);
            after(step, &mut voters, &mut learners);
        }
        assert_eq!(taken, [Step::Remove(old), Step::Settle, Step::Admit(new)]);
        assert_eq!(unfinished(&roster(&voters, &learners)), Step::Promote(new));
        after(Step::Promote(new), &mut voters, &mut learners);
        assert_eq!(unfinished(&roster(&voters, &learners)), Step::Settle);
        after(Step::Settle, &mut voters, &mut learners);
        assert_eq!(unfinished(&roster(&voters, &learners)), Step::Rest);
        assert_eq!(voters, [[id(0, 1), id(1, 1), new]]);
        // Asking again changes nothing.
        assert_eq!(requested(&roster(&voters, &learners), new, 3), Ok(Step::Rest));
    }

    #[test]
    fn one_server_at_a_time() {
        let (others, new) = ([id(0, 1), id(1, 1), id(3, 1)], id(3, 2));
        // Slot 2 has lost its vote, and is not back, not even as a learner.
        for learners in [&[][..], &[id(2, 2)]] {
            let vacant = Roster::new(&[&[others[0], others[1], others[2], id(4, 1)]], learners);
            assert_eq!(requested(&vacant, new, 5), Err(Refusal::Busy(Slot(2))));
            assert_ne!(requested(&vacant, id(2, 2), 5), Err(Refusal::Busy(Slot(2))));
        }
    }

    #[test]
    fn a_disk_that_is_lost_again_while_it_learns_makes_way() {
        let learning = Roster::new(&[&[id(0, 1), id(1, 1)]], &[id(2, 2)]);
        assert_eq!(requested(&learning, id(2, 3), 3), Ok(Step::Dismiss(id(2, 2))));
        let vacant = Roster::new(&[&[id(0, 1), id(1, 1)]], &[]);
        assert_eq!(requested(&vacant, id(2, 3), 3), Ok(Step::Admit(id(2, 3))));
    }

    #[test]
    fn the_last_voter_is_not_removed() {
        assert_eq!(requested(&Roster::new(&[&[id(0, 1)]], &[]), id(0, 2), 1), Err(Refusal::LastVoter));
    }

    #[test]
    fn a_slot_has_no_vote_from_removal_to_promotion() {
        let all = [id(0, 1), id(1, 1), id(2, 1)];
        let without = |roster: &Roster| roster.without_vote(3).collect::<Vec<_>>();
        assert!(without(&Roster::default()).is_empty());
        assert!(without(&Roster::new(&[&all], &[])).is_empty());
        assert_eq!(without(&Roster::new(&[&all, &all[..2]], &[])), [Slot(2)]);
        assert_eq!(without(&Roster::new(&[&all[..2]], &[id(2, 2)])), [Slot(2)]);
        assert!(without(&Roster::new(&[&all[..2], &[all[0], all[1], id(2, 2)]], &[])).is_empty());
    }
}
