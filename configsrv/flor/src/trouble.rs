use std::sync::{Arc, Mutex, PoisonError};

/// What is wrong now, as one task sees it, for whoever asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// Says what is wrong, or that nothing is any more; whether that is worth saying: the same trouble is said once.
    pub(crate) fn set(&self, now: Option<String>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = now.is_some() && *known != now;
        *known = now;
        news
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_said_once_until_it_was_gone() {
        let trouble = Trouble::default();
        let full = || Some("disk full".to_owned());
        assert!(!trouble.set(None) && trouble.set(full()) && !trouble.set(full()));
        assert_eq!(trouble.clone().get(), full());
        assert!(trouble.set(Some("read-only".into())) && !trouble.set(None) && trouble.set(full()));
    }
}
