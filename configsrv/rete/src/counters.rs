use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use configsrv_fleet::SpiffeId;
use parking_lot::Mutex;

/// Denials of more initiators than these are counted together: peers choose who they are among what the authority has
/// certified, and that has no bound.
const MOST_INITIATORS: usize = 256;
const OTHERS: &str = "others";

/// What the plane has done since it began. The numbers only grow.
#[derive(Debug, Default)]
pub struct Counters {
    pub opened: Count,
    pub closed: Count,
    /// Connections to a service or another node that did not come about.
    pub connect_failures: Count,
    /// From other nodes.
    pub bytes_in: Count,
    /// To other nodes.
    pub bytes_out: Count,
    /// Connections at the SOCKS5 ports that said nothing sensible in time.
    pub socks_failures: Count,
    denials: Mutex<BTreeMap<(String, &'static str), u64>>,
    handshake_failures: Mutex<BTreeMap<&'static str, u64>>,
}

/// One number.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// `acl` is the table that said no: `ingress` or `egress`.
    pub(crate) fn denied(&self, initiator: &SpiffeId, acl: &'static str) {
        let mut denials = self.denials.lock();
        let mut key = (initiator.as_str().to_owned(), acl);
        if denials.len() >= MOST_INITIATORS && !denials.contains_key(&key) {
            key.0 = OTHERS.to_owned();
        }
        *denials.entry(key).or_default() += 1;
    }

    pub(crate) fn handshake_failed(&self, reason: &'static str) {
        *self.handshake_failures.lock().entry(reason).or_default() += 1;
    }

    /// By initiator and table.
    pub fn denials(&self) -> BTreeMap<(String, &'static str), u64> {
        self.denials.lock().clone()
    }

    /// By reason, a closed set of words.
    pub fn handshake_failures(&self) -> BTreeMap<&'static str, u64> {
        self.handshake_failures.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_initiators_do_not_make_many_series() {
        let counters = Counters::default();
        for at in 0..2 * MOST_INITIATORS {
            counters.denied(&format!("spiffe://quay.test/user/u{at}").parse().unwrap(), "ingress");
        }
        let denials = counters.denials();
        assert!(denials.len() <= MOST_INITIATORS + 1);
        assert_eq!(denials.values().sum::<u64>(), 2 * MOST_INITIATORS as u64);
    }
}
