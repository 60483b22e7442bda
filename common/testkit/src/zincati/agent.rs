use std::time::Duration;

/// Between two attempts, and between two looks for an update.
const PERIOD: Duration = Duration::from_secs(300);
const JITTER: Duration = Duration::from_secs(3);
const JITTER_STEPS: u32 = 11;
/// While users are logged in the lock is asked for again.
const SESSION_GRACE: Duration = Duration::from_secs(60);
const SESSION_ROUNDS: u32 = 10;

/// The update agent of one machine. It keeps nothing over a restart.
#[derive(Clone, Debug)]
pub struct Agent {
    state: State,
    /// Of the jitter; equal seeds wait equally long.
    random: u64,
    /// Rounds for which users stay logged in.
    sessions: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Initialized,
    ReportedSteady,
    UpdateStaged { granted: u32 },
    Finalizing,
}

/// What the agent does next, after that much of its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub after: Duration,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    SteadyState,
    LookForUpdate,
    PreReboot,
    /// Makes the staged deployment the next one and reboots. If that works, the agent is gone.
    Finalize,
}

/// What became of the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    Succeeded,
    Failed,
    /// There is no update.
    Nothing,
}

impl Agent {
    /// An agent that starts now, after a boot or on its own, and its first step.
    pub fn start(seed: u64) -> (Self, Step) {
        let agent = Self { state: State::Initialized, random: seed | 1, sessions: 0 };
        (agent, Step { after: Duration::ZERO, action: Action::SteadyState })
    }

    /// Users who log in before the reboot, and log out after so many rounds of grace.
    pub fn log_in(&mut self, rounds: u32) {
        self.sessions = rounds.min(SESSION_ROUNDS);
    }

    /// Whether it was told that it holds a slot and has not rebooted yet.
    pub fn is_granted(&self) -> bool {
        matches!(self.state, State::UpdateStaged { granted: 1.. } | State::Finalizing)
    }

    pub fn next(&mut self, happened: Happened) -> Step {
        let success = happened == Happened::Succeeded;
        match self.state {
            State::Initialized if success => {
                self.state = State::ReportedSteady;
                self.later(Action::LookForUpdate)
            }
            State::Initialized => self.later(Action::SteadyState),
            State::ReportedSteady if success => {
                self.state = State::UpdateStaged { granted: 0 };
                now(Action::PreReboot)
            }
            State::ReportedSteady => self.later(Action::LookForUpdate),
            State::UpdateStaged { granted } if success && granted < self.sessions => {
                self.state = State::UpdateStaged { granted: granted + 1 };
                Step { after: SESSION_GRACE, action: Action::PreReboot }
            }
            State::UpdateStaged { .. } if success => {
                self.state = State::Finalizing;
                now(Action::Finalize)
            }
            State::UpdateStaged { .. } => self.later(Action::PreReboot),
            // It is still staged; the slot stays taken meanwhile.
            State::Finalizing => {
                self.state = State::UpdateStaged { granted: 0 };
                self.later(Action::PreReboot)
            }
        }
    }

    fn later(&mut self, action: Action) -> Step {
        Step { after: PERIOD + JITTER * (self.random() % JITTER_STEPS), action }
    }

    /// Xorshift: any numbers will do, as long as machines differ.
    fn random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as u32
    }
}

fn now(action: Action) -> Step {
    Step { after: Duration::ZERO, action }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Happened::{Failed, Nothing, Succeeded};

    fn staged() -> Agent {
        let (mut agent, first) = Agent::start(7);
        assert_eq!(first, now(Action::SteadyState));
        assert_eq!(agent.next(Succeeded).action, Action::LookForUpdate);
        assert_eq!(agent.next(Nothing).action, Action::LookForUpdate);
        assert_eq!(agent.next(Succeeded), now(Action::PreReboot));
        agent
    }

    #[test]
    fn nothing_goes_on_before_the_steady_state_is_told() {
        let (mut agent, _) = Agent::start(1);
        for _ in 0..100 {
            let step = agent.next(Failed);
            assert_eq!(step.action, Action::SteadyState);
            let seconds = step.after.as_secs();
            assert!((300..=330).contains(&seconds) && seconds % 3 == 0, "{seconds}");
        }
    }

    #[test]
    fn a_refusal_is_asked_again_for_ever_and_a_grant_is_acted_on_at_once() {
        let mut agent = staged();
        for _ in 0..100 {
            let step = agent.next(Failed);
            assert!(step.action == Action::PreReboot && step.after >= PERIOD, "{step:?}");
            assert!(!agent.is_granted());
        }
        assert_eq!(agent.next(Succeeded), now(Action::Finalize));
        assert!(agent.is_granted());
        let again = agent.next(Failed);
        assert!(again.action == Action::PreReboot && again.after >= PERIOD, "finalizing failed: {again:?}");
    }

    #[test]
    fn users_get_ten_rounds_of_grace() {
        let mut agent = staged();
        agent.log_in(99);
        for _ in 0..SESSION_ROUNDS {
            assert_eq!(agent.next(Succeeded), Step { after: SESSION_GRACE, action: Action::PreReboot });
        }
        assert_eq!(agent.next(Succeeded), now(Action::Finalize));
    }

    #[test]
    fn machines_do_not_ask_in_step() {
        let waits = |seed| {
            let (mut agent, _) = Agent::start(seed);
            (0..8).map(|_| agent.next(Failed).after).collect::<Vec<_>>()
        };
        assert_eq!(waits(3), waits(3));
        assert_ne!(waits(3), waits(5));
    }
}
