use super::step::StepError;

/// What is rotated: its words, and how many of it there may be.
pub trait Rotates: Clone {
    /// As in "there is no signing key K".
    const NOUN: &'static str;
    /// The word for [`State::Overlap`].
    const OVERLAP: &'static str;
    /// At most so many in a set, so that the set stays one small record.
    const CAPACITY: usize;
}

/// All items of one kind. At most one is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T> {
    pub items: Vec<Item<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<T> {
    pub id: String,
    pub value: T,
    pub state: State,
    pub added_ms: u64,
    pub activated_ms: Option<u64>,
    /// When another item became active in its place.
    pub superseded_ms: Option<u64>,
    /// When it was retired or found compromised.
    pub retired_ms: Option<u64>,
}

/// Where an item is on its way. A purged one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Verifiers know it; nothing is made with it.
    Pending,
    /// New things are made with it; exactly one.
    Active,
    /// Nothing is made with it any more; what was made is good.
    Overlap,
    /// What was made with it is void.
    Retired,
    /// The same, before its time and for good.
    Compromised,
}

impl State {
    /// Whether what was made with it is good.
    pub fn verifies(self) -> bool {
        match self {
            Self::Pending | Self::Active | Self::Overlap => true,
            Self::Retired | Self::Compromised => false,
        }
    }
}

impl<T: Rotates> Set<T> {
    /// The set of a new plane: its first item is active at once, because nobody has cached anything.
    pub fn genesis(id: String, value: T, now_ms: u64) -> Self {
        let first = Item { state: State::Active, activated_ms: Some(now_ms), ..Item::pending(id, value, now_ms) };
        Self { items: vec![first] }
    }

    pub fn active(&self) -> Option<&Item<T>> {
        self.items.iter().find(|item| item.state == State::Active)
    }

    pub fn get(&self, id: &str) -> Option<&Item<T>> {
        self.items.iter().find(|item| item.id == id)
    }

    /// The set with a new pending item.
    pub fn add(&self, id: String, value: T, now_ms: u64) -> Result<Self, StepError> {
        if self.get(&id).is_some() {
            return Err(StepError::Duplicate { noun: T::NOUN, id });
        }
        if self.items.len() >= T::CAPACITY {
            return Err(StepError::Full { noun: T::NOUN, capacity: T::CAPACITY });
        }
        let mut next = self.clone();
        next.items.push(Item::pending(id, value, now_ms));
        Ok(next)
    }
}

impl<T: Rotates> Item<T> {
    fn pending(id: String, value: T, now_ms: u64) -> Self {
        Self {
            id,
            value,
            state: State::Pending,
            added_ms: now_ms,
            activated_ms: None,
            superseded_ms: None,
            retired_ms: None,
        }
    }

    /// The state in the words of its kind.
    pub fn word(&self) -> &'static str {
        match self.state {
            State::Pending => "pending",
            State::Active => "active",
            State::Overlap => T::OVERLAP,
            State::Retired => "retired",
            State::Compromised => "compromised",
        }
    }
}
