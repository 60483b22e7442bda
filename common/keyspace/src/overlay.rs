use std::{cmp::Ordering, collections::BTreeMap, iter::Peekable, ops::Bound};

use bytes::Bytes;

use crate::{Error, KeyRange, Order, Pair, Read, Scan, Table, Write};

/// Uncommitted changes on top of a state. Reads see the changes; the base stays as it is until the caller writes
/// [`Overlay::into_changes`] to it as one batch.
pub struct Overlay<'a> {
    base: &'a (dyn Read + 'a),
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

/// One change of a batch: `value` is `None` for a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub table: Table,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// Makes the change in `state`.
    pub fn apply(self, state: &mut dyn Write) {
        match self.value {
            Some(value) => state.put(self.table, self.key, value),
            None => state.delete(self.table, self.key),
        }
    }
}

impl<'a> Overlay<'a> {
    pub fn new(base: &'a (dyn Read + 'a)) -> Self {
        Self { base, tables: BTreeMap::new() }
    }

    /// All changes, the last one of each key, in table and key order.
    pub fn into_changes(self) -> impl Iterator<Item = Change> {
        self.tables
            .into_iter()
            .flat_map(|(table, changes)| changes.into_iter().map(move |(key, value)| Change { table, key, value }))
    }

    fn set(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.tables.entry(table).or_default().insert(key, value);
    }
}

impl Read for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.tables.get(&table).and_then(|changes| changes.get(key)) {
            Some(changed) => Ok(changed.clone()),
            None => self.base.get(table, key),
        }
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        let Some(changes) = self.tables.get(&table).filter(|_| !range.is_empty()) else {
            return self.base.scan(table, range, order);
        };
        let changed = changes.range(range.clone().bounds());
        let changed: Changes<'_> = match order {
            Order::Ascending => Box::new(changed),
            Order::Descending => Box::new(changed.rev()),
        };
        let base = self.base.scan(table, range, order);
        Box::new(Merged { base: base.peekable(), changed: changed.peekable(), order })
    }

    fn get_all(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, Error> {
        let Some(changes) = self.tables.get(&table) else { return self.base.get_all(table, keys) };
        let mut values = self.base.get_all(table, keys)?;
        for (key, value) in keys.iter().zip(&mut values) {
            if let Some(changed) = changes.get(key) {
                *value = changed.clone().map(Bytes::from);
            }
        }
        Ok(values)
    }

    fn first(&self, table: Table, key: &[u8]) -> Result<Option<Pair>, Error> {
        let below = self.base.first(table, key)?;
        let Some(changes) = self.tables.get(&table) else { return Ok(below) };
        if below.as_ref().is_some_and(|(key, _)| changes.contains_key(key)) {
            return self.scan(table, KeyRange::prefix(key), Order::Ascending).next().transpose();
        }
        let range = (Bound::Included(key), Bound::Unbounded);
        let changed = changes.range::<[u8], _>(range).take_while(|(changed, _)| changed.starts_with(key));
        let changed = changed.filter_map(|(key, value)| Some((key.clone(), value.clone()?))).next();
        Ok(match (below, changed) {
            (Some(below), Some(changed)) => Some(if below.0 < changed.0 { below } else { changed }),
            (below, changed) => below.or(changed),
        })
    }
}

impl Write for Overlay<'_> {
    fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.set(table, key, Some(value));
    }

    fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.set(table, key, None);
    }
}

type Changes<'a> = Box<dyn Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)> + 'a>;

/// Two scans in the same order as one; where both have a key, the change wins.
struct Merged<'a> {
    base: Peekable<Scan<'a>>,
    changed: Peekable<Changes<'a>>,
    order: Order,
}

impl Iterator for Merged<'_> {
    type Item = Result<Pair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let first = match (self.base.peek(), self.changed.peek()) {
                (Some(Err(_)), _) | (Some(_), None) => return self.base.next(),
                (None, None) => return None,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((base, _))), Some((changed, _))) => match self.order {
                    Order::Ascending => base.cmp(changed),
                    Order::Descending => (*changed).cmp(base),
                },
            };
            if first == Ordering::Less {
                return self.base.next();
            }
            if first == Ordering::Equal {
                self.base.next();
            }
            if let Some((key, Some(value))) = self.changed.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::Memory;

    const T: Table = Table::new("t");

    fn write(state: &mut dyn Write, ops: &[(u8, Option<u8>)]) {
        for (key, value) in ops {
            match value {
                Some(value) => state.put(T, vec![*key], vec![*value]),
                None => state.delete(T, vec![*key]),
            }
        }
    }

    proptest! {
        #[test]
        fn reads_like_the_state_it_will_become(
            before in vec((0u8..20, any::<Option<u8>>()), 0..30),
            after in vec((0u8..20, any::<Option<u8>>()), 0..30),
            (start, end) in (0u8..20, 0u8..20),
        ) {
            let mut base = Memory::new();
            write(&mut base, &before);
            let mut overlay = Overlay::new(&base);
            write(&mut overlay, &after);
            let mut written = base.clone();
            write(&mut written, &after);

            for order in [Order::Ascending, Order::Descending] {
                for range in [KeyRange::between([start], [end]), KeyRange::all(), KeyRange::from([start])] {
                    let seen: Result<Vec<_>, _> = overlay.scan(T, range.clone(), order).collect();
                    let expected: Result<Vec<_>, _> = written.scan(T, range, order).collect();
                    prop_assert_eq!(seen.unwrap(), expected.unwrap());
                }
            }
            for prefix in [vec![], vec![start]] {
                prop_assert_eq!(overlay.first(T, &prefix).unwrap(), written.first(T, &prefix).unwrap());
            }
            let keys = [vec![start], vec![end], vec![]];
            prop_assert_eq!(overlay.get_all(T, &keys).unwrap(), written.get_all(T, &keys).unwrap());
        }
    }
}
