//! Since when there is something that a node does not have.

use std::collections::HashMap;

use configsrv_fleet::{NodeName, Version};

use crate::{
    ConfigService, Error, keys,
    record::{self, Current, Tree},
};

/// Lines of history as the nodes of one page need them, each read once.
pub(crate) struct Offers<'a> {
    service: &'a ConfigService,
    current: Option<&'a Current>,
    trees: HashMap<Version, Option<Tree>>,
    followed: HashMap<Version, u64>,
}

impl<'a> Offers<'a> {
    pub(crate) fn new(service: &'a ConfigService, current: Option<&'a Current>) -> Self {
        Self { service, current, trees: HashMap::new(), followed: HashMap::new() }
    }

    pub(crate) fn current(&self) -> Option<&'a Current> {
        self.current
    }

    /// When the first version was published that `node`, which has `has`, does not have. A node that never said what it
    /// has lacks everything back to where it came into the fleet, as far as artifacts are kept.
    pub(crate) fn since(&mut self, node: &NodeName, has: Option<Version>) -> Result<u64, Error> {
        let Some(current) = self.current else { return Ok(0) };
        if let Some(has) = has.filter(|has| *has < current.version) {
            return self.followed(has);
        }
        let Some(mut tree) = self.tree(current.version)? else { return Ok(0) };
        if has.is_some() {
            return Ok(tree.published_ms);
        }
        while let Some(before) = self.tree(tree.base_version)? {
            if before.pruned || !self.service.records().exists(&keys::head(&before.set, node))? {
                break;
            }
            tree = before;
        }
        Ok(tree.published_ms)
    }

    /// When the version after `has` was published.
    fn followed(&mut self, has: Version) -> Result<u64, Error> {
        if let Some(known) = self.followed.get(&has) {
            return Ok(*known);
        }
        let page = self.service.records().list(keys::TREES, Some(&keys::tree(has)), 1)?;
        let next = page.records.first().map(|found| record::decode::<Tree>(&found.key, &found.value)).transpose()?;
        let at_ms = next.map_or(0, |next| next.published_ms);
        self.followed.insert(has, at_ms);
        Ok(at_ms)
    }

    fn tree(&mut self, version: Version) -> Result<Option<Tree>, Error> {
        if let Some(known) = self.trees.get(&version) {
            return Ok(known.clone());
        }
        let tree: Option<Tree> = self.service.records().value(&keys::tree(version))?;
        self.trees.insert(version, tree.clone());
        Ok(tree)
    }
}
