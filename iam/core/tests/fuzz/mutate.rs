use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Numbers by xorshift; good enough to make garbage, and the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    /// One of `0..sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % sides.max(1)
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.roll(length + 1);
        start..(start + self.roll(17)).min(length)
    }

    /// `bytes` with one to four small changes; `words` are what its grammar is made of.
    pub(crate) fn change(&mut self, bytes: &[u8], words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.roll(4) {
            let at = self.roll(bytes.len());
            match self.roll(7) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.roll(8),
                1 if !bytes.is_empty() => bytes[at] = *self.one(&[0, 1, 0x7f, 0x80, 0xff, b'0', b'"', b'.']),
                2 => drop(bytes.drain(self.range(bytes.len()))),
                3 => {
                    let copied = bytes[self.range(bytes.len())].to_vec();
                    bytes.splice(at..at, copied);
                }
                4 => {
                    let word = self.one(words).to_vec();
                    bytes.splice(at..at, word);
                }
                5 => {
                    let noise: Vec<u8> = (0..self.roll(9)).map(|_| self.byte()).collect();
                    bytes.splice(at..at, noise);
                }
                _ => bytes.truncate(at),
            }
        }
        bytes
    }
}

/// Rounds until time is up.
pub(crate) fn rounds(mut round: impl FnMut(&mut Dice)) {
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("HOLDFAST_FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        u64::try_from(now & u128::from(u64::MAX)).unwrap()
    });
    let end = Instant::now() + Duration::from_secs(number("HOLDFAST_FUZZ_S").unwrap_or(1));
    let mut dice = Dice(seed | 1);
    let mut done = 0_u64;
    while Instant::now() < end {
        // Told by the panic's output if there is one.
        let told = Told { seed, round: done };
        round(&mut dice);
        std::mem::forget(told);
        done += 1;
    }
    eprintln!("{done} rounds from seed {seed}");
    assert!(done > 0);
}

/// Says where it was if the round does not come to its end.
struct Told {
    seed: u64,
    round: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("HOLDFAST_FUZZ_SEED={} fails in round {}", self.seed, self.round);
    }
}
