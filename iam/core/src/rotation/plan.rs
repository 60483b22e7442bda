use super::{Rotates, Set, Stage, State, Terms};

/// A stage of a rotation that is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub stage: Stage,
    /// The item that it is about; none for one that is not made yet.
    pub id: Option<String>,
    /// Nothing holds it up after this. It may be possible earlier, when those who are waited for acknowledge or when
    /// what was made with the old item is seen to have ended. [`super::FOREVER`] where no time will do.
    pub possible_ms: u64,
    /// Verifiers that do not enforce the present set, each with the time of its last word.
    pub waiting_for: Vec<(String, Option<u64>)>,
    /// The item whose activation, or else whose retirement, takes the stage back.
    pub undo: Option<Undo>,
}

/// How a stage is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    Activate(String),
    /// None for an item that is not made yet.
    Retire(Option<String>),
}

impl<T: Rotates> Set<T> {
    /// The stages of replacing `from` by `to`, or by an item that is still to be made, each as early as it is safe.
    pub fn plan(&self, from: &str, to: Option<&str>, terms: &Terms<'_>) -> Vec<Planned> {
        let (windows, now_ms) = (terms.windows, terms.now_ms);
        let (old, new) = (self.get(from), to.and_then(|to| self.get(to)));
        let (old_state, new_state) = (old.map(|item| item.state), new.map(|item| item.state));
        let id = to.map(str::to_owned);
        let mut stages = Vec::new();
        let mut at_ms = now_ms;
        if new_state.is_none() {
            let undo = Some(Undo::Retire(None));
            stages.push(Planned { stage: Stage::Add, id: None, possible_ms: at_ms, waiting_for: Vec::new(), undo });
            at_ms = at_ms.saturating_add(windows.cache_ms);
        }
        if matches!(new_state, None | Some(State::Pending | State::Overlap)) && old_state == Some(State::Active) {
            let guard = new.filter(|item| item.state == State::Pending).and_then(|item| item.guard(terms));
            at_ms = at_ms.max(guard.as_ref().map_or(at_ms, |guard| guard.possible_ms));
            let waiting_for = guard.map(|guard| guard.waiting_for).unwrap_or_default();
            let undo = Some(Undo::Activate(from.to_owned()));
            stages.push(Planned { stage: Stage::Activate, id, possible_ms: at_ms, waiting_for, undo });
            // Until then something can have been made with the old one.
            at_ms = at_ms.saturating_add(windows.life_ms).saturating_add(windows.leeway_ms);
        }
        if matches!(old_state, Some(State::Active | State::Overlap)) {
            let guard = old.and_then(|item| item.guard(terms));
            at_ms = at_ms.max(guard.as_ref().map_or(at_ms, |guard| guard.possible_ms));
            let waiting_for = guard.map(|guard| guard.waiting_for).unwrap_or_default();
            let id = Some(from.to_owned());
            stages.push(Planned { stage: Stage::Retire, id, possible_ms: at_ms, waiting_for, undo: None });
            at_ms = at_ms.saturating_add(windows.retirement_ms);
        } else if let Some(guard) = old.and_then(|item| item.guard(terms)) {
            at_ms = at_ms.max(guard.possible_ms);
        }
        if old_state.is_some() {
            let id = Some(from.to_owned());
            stages.push(Planned { stage: Stage::Purge, id, possible_ms: at_ms, waiting_for: Vec::new(), undo: None });
        }
        stages
    }
}
