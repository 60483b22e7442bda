use bytes::Bytes;

use crate::random::Random;

/// At most twelve: etcd sorts with an algorithm that keeps the order of equal elements only in lists as short as that.
const KEYS: &[&[u8]] =
    &[b"a", b"a\0", b"a\0b", b"a/1", b"a/2", b"b", b"b\x01", b"k", b"\0", b"\xff", b"\xff\xff", b"\xff\xffz"];

/// A key that exists or may exist; seldom the empty one, which is refused.
pub(crate) fn key(random: &mut Random) -> Bytes {
    if random.once_in(80) { Bytes::new() } else { existing(random) }
}

pub(crate) fn existing(random: &mut Random) -> Bytes {
    Bytes::from_static(random.pick(KEYS))
}

/// A key and a range end: one key, a prefix, everything after, everything, and any pair, backwards too.
pub(crate) fn selection(random: &mut Random) -> (Bytes, Bytes) {
    const ZERO: Bytes = Bytes::from_static(b"\0");
    match random.below(10) {
        0..=3 => (key(random), Bytes::new()),
        4 => (Bytes::from_static(b"a"), Bytes::from_static(b"b")),
        5 => (key(random), ZERO),
        6 => (ZERO, ZERO),
        7 => (Bytes::new(), ZERO),
        _ => (key(random), key(random)),
    }
}

/// Short, from few, so that sorts and compares by value meet equal ones; seldom longer than a request may be.
pub(crate) fn value(random: &mut Random) -> Bytes {
    match random.below(400) {
        0 => Bytes::from(vec![b'v'; 66_000]),
        1 => Bytes::from(vec![b'v'; 700_000]),
        2..=20 => Bytes::from(vec![b'w'; 1_000]),
        n => Bytes::from_static([&b""[..], b"1", b"2", b"11", b"\0", b"\xff\xfe"][n as usize % 6]),
    }
}
