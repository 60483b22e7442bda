use std::{
    collections::{HashMap, VecDeque},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use crate::{Standing, strangers::Place};

/// Callers that are remembered of one connection; a proxy may have more.
const MOST_CALLERS: usize = 16;
/// So many connections may have ended before anybody looks for them.
const ENDED: usize = 256;

/// Somebody who uses connections.
pub trait Guest: Clone + PartialEq {
    /// Who that is, whatever they prove it with.
    type Name: Clone + Debug + Eq + Hash;

    fn name(&self) -> &Self::Name;

    /// How many connections they may have open at a time, which is at least one.
    fn most(&self) -> usize;
}

/// The open connections whose callers are known, each with those callers, so that connections of callers that are none
/// any more can be cut, and that nobody takes everybody's places.
#[derive(Debug)]
pub struct Sessions<C: Guest>(Mutex<Table<C>>);

#[derive(Debug)]
struct Table<C: Guest> {
    /// By the address of the place, which nobody else has while a reference to it is kept here.
    open: HashMap<usize, Session<C>>,
    /// The connections of each caller in the order in which they came; ended ones may be among them.
    held: HashMap<C::Name, VecDeque<Weak<Place>>>,
    /// How many there may be before the ended ones are removed.
    room: usize,
}

#[derive(Debug)]
struct Session<C> {
    place: Weak<Place>,
    callers: Vec<C>,
}

impl<C: Guest> Default for Sessions<C> {
    fn default() -> Self {
        Self(Mutex::new(Table { open: HashMap::new(), held: HashMap::new(), room: ENDED }))
    }
}

impl<C: Guest> Sessions<C> {
    /// Remembers that `caller` uses the connection of `standing`, which thereby is no stranger's any more. Whoever comes
    /// with more connections than they may have loses the oldest one.
    pub fn enter(&self, standing: &Standing, caller: C) {
        standing.known();
        let place = standing.place();
        let mut table = self.0.lock();
        table.make_room();
        let address = Arc::as_ptr(place).addr();
        if table.open.get(&address).is_some_and(|session| session.callers.last() == Some(&caller)) {
            return;
        }
        let excess = table.hold(place, &caller);
        let session = table.open.entry(address);
        let session = session.or_insert_with(|| Session { place: Arc::downgrade(place), callers: Vec::new() });
        session.callers.retain(|known| *known != caller);
        if session.callers.len() == MOST_CALLERS {
            session.callers.remove(0);
        }
        session.callers.push(caller);
        drop(table);
        if let Some(excess) = excess {
            excess.cut();
        }
    }

    /// Cuts the connections of which `is_over` says so when it sees their callers. Returns how many that were.
    pub fn cut(&self, mut is_over: impl FnMut(&[C]) -> bool) -> usize {
        // Judging takes its time; meanwhile others enter.
        let open: Vec<_> = {
            let table = self.0.lock();
            table.open.values().map(|session| (session.place.clone(), session.callers.clone())).collect()
        };
        let over = open.into_iter().filter(|(place, callers)| place.strong_count() > 0 && is_over(callers));
        over.filter(|(place, _)| place.upgrade().is_some_and(|place| place.cut())).count()
    }

    /// How many connections are known.
    pub fn count(&self) -> usize {
        self.0.lock().open.values().filter(|session| session.place.strong_count() > 0).count()
    }
}

impl<C: Guest> Table<C> {
    /// Notes that `place` is one of the caller's, and finds the one that has to go for it: the oldest that nobody else
    /// uses, or else the oldest.
    fn hold(&mut self, place: &Arc<Place>, caller: &C) -> Option<Arc<Place>> {
        let (open, held) = (&self.open, self.held.entry(caller.name().clone()).or_default());
        if held.iter().any(|known| known.as_ptr() == Arc::as_ptr(place)) {
            return None;
        }
        if held.len() >= caller.most() {
            held.retain(|known| known.strong_count() > 0);
        }
        let mut excess = None;
        if held.len() >= caller.most() {
            let is_own = |known: &Weak<Place>| {
                let session = open.get(&known.as_ptr().addr());
                session.is_some_and(|session| session.callers.iter().all(|one| one.name() == caller.name()))
            };
            let oldest = held.iter().position(is_own).unwrap_or_default();
            excess = held.remove(oldest).and_then(|oldest| oldest.upgrade());
        }
        held.push_back(Arc::downgrade(place));
        excess
    }

    fn make_room(&mut self) {
        if self.open.len() < self.room {
            return;
        }
        self.open.retain(|_, session| session.place.strong_count() > 0);
        self.held.retain(|_, held| {
            held.retain(|place| place.strong_count() > 0);
            !held.is_empty()
        });
        self.room = self.open.len() * 2 + ENDED;
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::strangers::Strangers;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// May have two connections.
    impl Guest for &'static str {
        type Name = Self;

        fn name(&self) -> &Self {
            self
        }

        fn most(&self) -> usize {
            2
        }
    }

    /// May have as many as there are.
    impl Guest for i32 {
        type Name = Self;

        fn name(&self) -> &Self {
            self
        }

        fn most(&self) -> usize {
            usize::MAX
        }
    }

    #[test]
    fn a_connection_is_cut_when_its_callers_are_over_and_once() {
        let (strangers, sessions) = (Strangers::new(8), Sessions::default());
        let [mira, both, nobody] = [(); 3].map(|()| strangers.enter(SOURCE));
        sessions.enter(&mira, "mira");
        sessions.enter(&both, "mira");
        sessions.enter(&both, "noor");
        let of_mira = |callers: &[&str]| callers.iter().all(|caller| *caller == "mira");
        assert_eq!((sessions.cut(of_mira), sessions.cut(of_mira)), (1, 0));
        assert!(mira.is_cut() && !both.is_cut() && !nobody.is_cut());
        assert!(!both.is_stranger() && nobody.is_stranger());
    }

    #[test]
    fn who_has_too_many_loses_the_oldest() {
        let (strangers, sessions) = (Strangers::new(8), Sessions::default());
        let [first, second, third, of_noor] = [(); 4].map(|()| strangers.enter(SOURCE));
        for standing in [&first, &second, &first, &second] {
            sessions.enter(standing, "mira");
        }
        sessions.enter(&of_noor, "noor");
        assert!(!first.is_cut() && !second.is_cut());
        sessions.enter(&third, "mira");
        assert_eq!([&first, &second, &third, &of_noor].map(Standing::is_cut), [true, false, false, false]);
        drop(second);
        let fourth = strangers.enter(SOURCE);
        sessions.enter(&fourth, "mira");
        assert!(!third.is_cut() && !fourth.is_cut(), "what has ended does not count");
    }

    #[test]
    fn a_connection_that_others_use_goes_last() {
        let (strangers, sessions) = (Strangers::new(8), Sessions::default());
        let [shared, own, next, last] = [(); 4].map(|()| strangers.enter(SOURCE));
        sessions.enter(&shared, "noor");
        for standing in [&shared, &own, &next, &last] {
            sessions.enter(standing, "mira");
        }
        assert_eq!([&shared, &own, &next, &last].map(Standing::is_cut), [false, true, true, false]);
        // Two who share all that they have do not get more by it.
        for standing in [&last, &strangers.enter(SOURCE)] {
            sessions.enter(standing, "ada");
            sessions.enter(standing, "mira");
        }
        assert!(shared.is_cut() && !last.is_cut());
    }

    #[test]
    fn callers_are_remembered_once_and_the_latest_of_them() {
        let (strangers, sessions) = (Strangers::new(8), Sessions::default());
        let standing = strangers.enter(SOURCE);
        for caller in (0..40).chain([38, 38]) {
            sessions.enter(&standing, caller);
        }
        let mut seen = Vec::new();
        sessions.cut(|callers: &[i32]| {
            seen = callers.to_vec();
            false
        });
        assert_eq!(seen, [24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 39, 38]);
    }

    #[test]
    fn ended_connections_take_no_room() {
        let (strangers, sessions) = (Strangers::new(8), Sessions::default());
        let stays = strangers.enter(SOURCE);
        sessions.enter(&stays, 0);
        for caller in 1..10 * i32::try_from(ENDED).unwrap() {
            sessions.enter(&strangers.enter(SOURCE), caller);
        }
        assert_eq!((sessions.count(), sessions.cut(|_| true)), (1, 1));
        assert!(sessions.0.lock().open.len() <= 2 + ENDED);
    }
}
