use bytes::Bytes;

/// Keys that puts choose from, and that ranges find.
pub(super) const SPACE: usize = 100_000;

pub(super) fn key(number: usize) -> Bytes {
    format!("bench/{number:010}").into()
}

/// The first key behind all that [`key`] makes.
pub(super) const END: Bytes = Bytes::from_static(b"bench0");

/// Bytes that do not compress to nothing.
pub(super) fn value(bytes: usize) -> Bytes {
    let mut dice = Dice::new(bytes as u64);
    (0..bytes).map(|_| dice.below(256) as u8).collect()
}

/// How many keys a range asks for: the reverse of what [`key`] makes.
pub(crate) fn keys_between(first: &[u8], end: &[u8]) -> usize {
    let number = |key: &[u8]| std::str::from_utf8(key).ok()?.strip_prefix("bench/")?.parse::<usize>().ok();
    match (number(first), number(end)) {
        (Some(first), Some(end)) => end.saturating_sub(first),
        _ => 1,
    }
}

/// Bytes that values are cut from.
const QUARRY: usize = 4 << 20;

/// Values that have nothing in common with their neighbours, since a store that compresses blocks would find out.
#[derive(Clone, Debug)]
pub(super) struct Values {
    quarry: Bytes,
    bytes: usize,
}

impl Values {
    /// All of them `bytes` long.
    pub(super) fn new(bytes: usize) -> Self {
        Self { quarry: value(QUARRY + bytes), bytes }
    }

    pub(super) fn of(&self, number: usize) -> Bytes {
        let start = Dice::new(number as u64).below(QUARRY);
        self.quarry.slice(start..start + self.bytes)
    }
}

/// xorshift64*: enough for choosing keys.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_reach_every_face() {
        let mut dice = Dice::new(0);
        let mut faces = [0; 6];
        (0..6_000).for_each(|_| faces[dice.below(6)] += 1);
        assert!(faces.iter().all(|times| (800..1_200).contains(times)), "{faces:?}");
    }

    #[test]
    fn keys_sort_by_number() {
        assert!(key(9) < key(10) && key(99_999) < key(100_000) && key(1 << 30) < END);
        assert_eq!(value(256).len(), 256);
    }

    #[test]
    fn the_keys_of_a_range_are_counted() {
        assert_eq!(keys_between(&key(7), &key(1_007)), 1_000);
        assert_eq!(keys_between(&key(7), b""), 1);
    }

    #[test]
    fn neighbours_values_differ() {
        let values = Values::new(4_096);
        let parts: std::collections::BTreeSet<_> = (0..100).map(|number| values.of(number).slice(..64)).collect();
        assert_eq!((parts.len(), values.of(100).len()), (100, 4_096));
    }
}
