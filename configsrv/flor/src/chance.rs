use ring::rand::{SecureRandom as _, SystemRandom};

/// From 0 to 1, so that machines that begin together do not go on together.
pub(crate) fn chance() -> f64 {
    let mut byte = [0];
    // Without randomness they are only less spread.
    let _ = SystemRandom::new().fill(&mut byte);
    f64::from(byte[0]) / 255.0
}
