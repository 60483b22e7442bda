use std::collections::BTreeMap;

use crate::{Error, KeyRange, Order, Pair, Read, Scan, Table, Write};

/// All tables in memory, for pure tests of state machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Memory {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Read for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.tables.get(&table).and_then(|pairs| pairs.get(key)).cloned())
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        let Some(pairs) = self.tables.get(&table).filter(|_| !range.is_empty()) else {
            return Box::new(std::iter::empty());
        };
        let found =
            pairs.range(range.bounds()).map(|(key, value)| -> Result<Pair, Error> { Ok((key.clone(), value.clone())) });
        match order {
            Order::Ascending => Box::new(found),
            Order::Descending => Box::new(found.rev()),
        }
    }
}

impl Write for Memory {
    fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.tables.entry(table).or_default().insert(key, value);
    }

    fn delete(&mut self, table: Table, key: Vec<u8>) {
        if let Some(pairs) = self.tables.get_mut(&table) {
            pairs.remove(&key);
        }
    }
}
