//! How far nodes may be ahead of the servers. After a restore the servers know less than their nodes do, so what nodes
//! say they have keeps lower numbers from being taken. Whoever has the key of one node can say anything, though, and must
//! not stop everybody by it.

use configsrv_fleet::NodeName;
use iam_client::Identity;

use crate::{ConfigService, Error};

/// Versions, or revocations, that a restore takes away at most: more than anybody makes between two backups. Higher
/// numbers are never needed because of a node's word alone, so the room for them cannot be used up by lies either.
const MOST: u64 = 1000;

impl ConfigService {
    /// Refuses a number that `node` is said to have and that no restore explains. `known` looks up the servers' own.
    pub(crate) async fn believe(
        &self,
        identity: &Identity,
        node: &NodeName,
        what: &str,
        said: u64,
        known: impl Fn(&Self) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        if is_plausible(said, known(self)?) {
            return Ok(());
        }
        // Another server may know more; nothing is called implausible before this one has caught up.
        self.records().barrier().await?;
        let known = known(self)?;
        if is_plausible(said, known) {
            return Ok(());
        }
        let why = format!(
            "node {node} says that it has {what} {said}, but the servers know {known}: no restore takes more than {MOST} \
             away, so the report is not believed; if it is true all the same, give the next one a higher number"
        );
        self.record_denial(&identity.origin(), "config.ReportStatus", &format!("node/{node}"), &why);
        Err(Error::ImplausibleReport(why))
    }
}

fn is_plausible(said: u64, known: u64) -> bool {
    said.saturating_sub(known) <= MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_no_further_ahead_than_a_restore_explains() {
        let plausible = [(0, 0), (0, 7), (7, 7), (MOST, 0), (7 + MOST, 7)];
        assert!(plausible.into_iter().all(|(said, known)| is_plausible(said, known)));
        let lies = [(MOST + 1, 0), (8 + MOST, 7), (1 << 53, 7), (u64::MAX, 0)];
        assert!(!lies.into_iter().any(|(said, known)| is_plausible(said, known)));
    }
}
