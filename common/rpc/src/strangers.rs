use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The open connections of which nobody knows yet whose they are. There is room for so many; then the oldest of the
/// source that has most makes room, so that whoever opens connections in masses pushes out its own.
#[derive(Debug)]
pub(crate) struct Strangers {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    count: usize,
    /// By source and by age.
    open: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// How a connection stands with its listener: a stranger until its caller is known. In the extensions of every request.
#[derive(Clone, Debug)]
pub struct Standing(Arc<Place>);

#[derive(Debug)]
pub(crate) struct Place {
    strangers: Weak<Strangers>,
    source: IpAddr,
    number: u64,
    cut: CancellationToken,
    requests: AtomicUsize,
    weight: Weight,
}

/// Bytes that the requests and the answers of one connection take in memory, counted by whoever bounds them.
#[derive(Debug, Default)]
pub struct Weight {
    pub requests: AtomicUsize,
    pub answers: AtomicUsize,
}

/// One request of a stranger; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Place>);

impl Strangers {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), table: Mutex::default() })
    }

    pub(crate) fn enter(self: &Arc<Self>, source: IpAddr) -> Standing {
        let source = network(source);
        let cut = CancellationToken::new();
        let mut table = self.table.lock();
        if table.count >= self.most {
            table.make_room();
        }
        let number = table.next;
        table.next += 1;
        table.count += 1;
        table.open.entry(source).or_default().insert(number, cut.clone());
        let strangers = Arc::downgrade(self);
        let (requests, weight) = (AtomicUsize::new(0), Weight::default());
        Standing(Arc::new(Place { strangers, source, number, cut, requests, weight }))
    }

    /// Cuts one connection, for a caller that needs its place.
    pub(crate) fn make_room(&self) {
        self.table.lock().make_room();
    }
}

impl Table {
    fn make_room(&mut self) {
        let crowded = self.open.iter().max_by_key(|(_, open)| open.len()).map(|(source, _)| *source);
        let oldest = crowded.and_then(|source| Some((source, *self.open.get(&source)?.first_key_value()?.0)));
        if let Some((source, number)) = oldest
            && let Some(cut) = self.leave(source, number)
        {
            cut.cancel();
        }
    }

    fn leave(&mut self, source: IpAddr, number: u64) -> Option<CancellationToken> {
        let open = self.open.get_mut(&source)?;
        let cut = open.remove(&number)?;
        if open.is_empty() {
            self.open.remove(&source);
        }
        self.count -= 1;
        Some(cut)
    }
}

impl Standing {
    /// The caller is known; the connection is cut for no stranger any more.
    pub fn known(&self) {
        self.0.leave();
    }

    pub fn weight(&self) -> &Weight {
        &self.0.weight
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.0
    }

    pub(crate) fn is_stranger(&self) -> bool {
        let place = &self.0;
        place.strangers.upgrade().is_some_and(|strangers| {
            strangers.table.lock().open.get(&place.source).is_some_and(|open| open.contains_key(&place.number))
        })
    }

    /// Completes when the connection has to end.
    pub(crate) async fn cut(&self) {
        self.0.cut.cancelled().await;
    }

    #[cfg(test)]
    pub(crate) fn is_cut(&self) -> bool {
        self.0.cut.is_cancelled()
    }

    /// Begins a request of a stranger; none if it has `most` of them running.
    pub(crate) fn begin(&self, most: usize) -> Option<Running> {
        let running = Running(Arc::clone(&self.0));
        (self.0.requests.fetch_add(1, Ordering::Relaxed) < most).then_some(running)
    }
}

impl Place {
    /// Ends the connection; false if somebody did so before.
    pub(crate) fn cut(&self) -> bool {
        let open = !self.cut.is_cancelled();
        self.cut.cancel();
        open
    }

    fn leave(&self) {
        if let Some(strangers) = self.strangers.upgrade() {
            strangers.table.lock().leave(self.source, self.number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whoever has one IPv6 address has at least the 2⁶⁴ of its network.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_pushes_out_its_own() {
        let strangers = Strangers::new(3);
        let (crowd, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let alone = strangers.enter(other);
        let first = strangers.enter(crowd);
        let second = strangers.enter(crowd);
        let third = strangers.enter(crowd);
        assert_eq!([&alone, &first, &second, &third].map(Standing::is_cut), [false, true, false, false]);
        assert!(!first.is_stranger() && third.is_stranger());
    }

    #[test]
    fn who_is_known_stays() {
        let strangers = Strangers::new(1);
        let source = IpAddr::from([192, 0, 2, 1]);
        let known = strangers.enter(source);
        known.known();
        let next = strangers.enter(source);
        drop(strangers.enter(source));
        assert!(!known.is_cut() && next.is_cut());
        assert_eq!(strangers.table.lock().count, 0);
    }

    #[test]
    fn a_network_is_one_source() {
        let strangers = Strangers::new(2);
        let [one, two] = ["2001:db8::1", "2001:db8::2"].map(|address| address.parse().unwrap());
        let other = strangers.enter("2001:db8:1::1".parse().unwrap());
        let first = strangers.enter(one);
        let _second = strangers.enter(two);
        let _third = strangers.enter(two);
        assert!(other.is_cut() || first.is_cut());
        assert_eq!(strangers.table.lock().count, 2);
    }

    #[test]
    fn requests_are_counted_while_they_run() {
        let standing = Strangers::new(1).enter(IpAddr::from([192, 0, 2, 1]));
        let running = standing.begin(1);
        assert!(running.is_some() && standing.begin(1).is_none());
        drop(running);
        assert!(standing.begin(1).is_some());
    }
}
