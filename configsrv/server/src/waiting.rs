//! Requests of nodes that are held back until there is news. They cost nearly nothing each, and whoever has a node's key
//! could open as many as a connection has streams.

use std::{collections::HashMap, sync::Arc, time::Duration};

use iam_client::PrincipalId;
use parking_lot::Mutex;

use crate::Error;

/// Of one node at a time. An agent has one for versions and one for revocations, and those of a connection that broke go
/// on until that is noticed.
const MOST: usize = 16;

#[derive(Default)]
pub(crate) struct Waiting(Arc<Mutex<HashMap<PrincipalId, usize>>>);

/// One such request; its place is free when this is dropped.
pub(crate) struct Place {
    node: PrincipalId,
    all: Arc<Mutex<HashMap<PrincipalId, usize>>>,
}

impl Waiting {
    /// A place for a request that may be held back for so long; only nodes need one.
    pub(crate) fn begin(&self, node: Option<&PrincipalId>, wait: Duration) -> Result<Option<Place>, Error> {
        let Some(node) = node.filter(|_| !wait.is_zero()) else { return Ok(None) };
        let mut all = self.0.lock();
        let count = all.entry(node.clone()).or_default();
        if *count >= MOST {
            return Err(Error::TooManyWaiting { most: MOST });
        }
        *count += 1;
        Ok(Some(Place { node: node.clone(), all: Arc::clone(&self.0) }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(count) = all.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    #[test]
    fn a_node_has_few_places_and_gets_them_back() {
        let (waiting, node) = (Waiting::default(), "node/pier2".parse().unwrap());
        let other = "node/pier3".parse().unwrap();
        let begin = |node, wait| waiting.begin(node, wait);
        let mut places: Vec<_> = (0..MOST).map(|_| begin(Some(&node), WAIT).unwrap()).collect();
        assert_eq!(begin(Some(&node), WAIT).err(), Some(Error::TooManyWaiting { most: MOST }));
        assert!(begin(Some(&other), WAIT).is_ok() && begin(None, WAIT).is_ok());
        assert!(begin(Some(&node), Duration::ZERO).unwrap().is_none(), "what does not wait needs no place");
        places.pop();
        assert!(begin(Some(&node), WAIT).is_ok());
        drop(places);
        assert!(waiting.0.lock().is_empty());
    }
}
