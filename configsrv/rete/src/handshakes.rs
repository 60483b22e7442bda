use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

const MOST: usize = 256;
/// With more than this under way, sources show first that they are where they say.
const TRUSTED: usize = 64;
/// Of one source: nobody takes the room of all others.
const MOST_OF_ONE: usize = 16;
/// The same of one source, so that nobody takes another one's room by its address alone.
const TRUSTED_OF_ONE: usize = 8;

/// Handshakes under way, of which nobody knows yet whose they are.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    count: usize,
    of: HashMap<IpAddr, usize>,
}

/// One handshake; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    all: Arc<Handshakes>,
    source: IpAddr,
}

/// What becomes of whoever wants to begin one.
#[derive(Debug)]
pub(crate) enum Admission {
    Begin(Handshake),
    /// It is asked for its address once more, which an answer to a forged one never reaches.
    Ask,
    Refuse,
}

impl Handshakes {
    /// `shown` says that the source is where it says.
    pub(crate) fn admit(self: &Arc<Self>, source: IpAddr, shown: bool) -> Admission {
        let source = network(source);
        let mut table = self.0.lock();
        let of_one = table.of.get(&source).copied().unwrap_or_default();
        if !shown && (table.count >= TRUSTED || of_one >= TRUSTED_OF_ONE) {
            return Admission::Ask;
        }
        if table.count >= MOST || of_one >= MOST_OF_ONE {
            return Admission::Refuse;
        }
        table.count += 1;
        table.of.insert(source, of_one + 1);
        Admission::Begin(Handshake { all: Arc::clone(self), source })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut table = self.all.0.lock();
        table.count -= 1;
        if let Some(of_one) = table.of.get_mut(&self.source) {
            *of_one -= 1;
            if *of_one == 0 {
                table.of.remove(&self.source);
            }
        }
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

    fn source(number: usize) -> IpAddr {
        let [.., high, low] = number.to_be_bytes();
        IpAddr::from([192, 0, high, low])
    }

    /// As many of one source as begin.
    fn begun(all: &Arc<Handshakes>, source: IpAddr, shown: bool) -> Vec<Handshake> {
        let next = || match all.admit(source, shown) {
            Admission::Begin(handshake) => Some(handshake),
            Admission::Ask | Admission::Refuse => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn one_source_has_room_for_a_few() {
        let all = Arc::default();
        let forged = begun(&all, source(1), false);
        assert_eq!(forged.len(), TRUSTED_OF_ONE);
        assert!(matches!(all.admit(source(1), false), Admission::Ask));
        let shown = begun(&all, source(1), true);
        assert_eq!(forged.len() + shown.len(), MOST_OF_ONE, "who is there has room in spite of forgers");
        assert!(matches!(all.admit(source(1), true), Admission::Refuse));
        assert!(matches!(all.admit(source(2), false), Admission::Begin(_)));
        drop(shown);
        assert_eq!(begun(&all, source(1), true).len(), MOST_OF_ONE - TRUSTED_OF_ONE);
    }

    #[test]
    fn all_sources_together_have_room_for_so_many() {
        let all = Arc::default();
        let mut open: Vec<Handshake> = (0..100).flat_map(|number| begun(&all, source(number), false)).collect();
        assert_eq!(open.len(), TRUSTED);
        open.extend((0..100).flat_map(|number| begun(&all, source(number), true)));
        assert_eq!(open.len(), MOST);
        assert!(matches!(all.admit(source(1000), true), Admission::Refuse));
        drop(open);
        let table = all.0.lock();
        assert!(table.count == 0 && table.of.is_empty());
    }

    #[test]
    fn a_network_is_one_source() {
        let all = Arc::default();
        let [one, two, other] =
            ["2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1"].map(|address| address.parse().unwrap());
        let _open = begun(&all, one, true);
        assert!(matches!(all.admit(two, true), Admission::Refuse));
        assert!(matches!(all.admit(other, true), Admission::Begin(_)));
        let _open = begun(&all, source(1), true);
        let mapped = IpAddr::V6("::ffff:192.0.0.1".parse().unwrap());
        assert!(matches!(all.admit(mapped, true), Admission::Refuse));
    }
}
