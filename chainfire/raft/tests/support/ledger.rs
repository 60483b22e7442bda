use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use chainfire_raft::{Applied, Halt, Machine, Position};
use holdfast_keyspace::{KeyRange, Order, Overlay, Read, Table, Write as _};

const PAIRS: Table = Table::new("pairs");
const COUNT: Table = Table::new("count");

/// A map with a counter. `key=value` sets, everything else is the first command or nonsense and only counted.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Effects in the order of their publication.
    pub(crate) published: Mutex<Vec<(Position, String)>>,
    pub(crate) restored: AtomicU64,
}

impl Machine for Ledger {
    type Effect = String;

    fn tables(&self) -> &'static [Table] {
        &[PAIRS, COUNT]
    }

    fn apply(&self, state: &mut Overlay<'_>, _: Position, command: &[u8]) -> Result<Applied<String>, Halt> {
        let text = std::str::from_utf8(command).map_err(|error| Halt(error.to_string()))?;
        let count = count(state)? + 1;
        state.put(COUNT, b"all".to_vec(), count.to_be_bytes().to_vec());
        if let Some((key, value)) = text.split_once('=') {
            state.put(PAIRS, key.into(), value.into());
        }
        Ok(Applied { answer: count.to_be_bytes().to_vec(), effects: vec![text.to_owned()] })
    }

    fn publish(&self, at: Position, effects: Vec<String>) {
        self.published.lock().unwrap().extend(effects.into_iter().map(|effect| (at, effect)));
    }

    fn restored(&self) {
        self.restored.fetch_add(1, Ordering::SeqCst);
    }
}

/// How many commands have been applied.
pub(crate) fn count(state: &dyn Read) -> Result<u64, Halt> {
    let stored = state.get(COUNT, b"all")?;
    Ok(stored.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// All pairs in order.
pub(crate) fn pairs(state: &dyn Read) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let scan = state.scan(PAIRS, KeyRange::all(), Order::Ascending);
    scan.map(|pair| pair.map(|(key, value)| (text(key), text(value))).unwrap()).collect()
}
