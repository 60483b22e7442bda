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
}
