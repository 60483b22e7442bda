use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{artifact::Payload, names::NodeName, spiffe::SpiffeId};

/// One thing that somebody may reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reach {
    pub who: SpiffeId,
    pub target: SpiffeId,
    /// Where the target is.
    pub at: NodeName,
}

/// Who gains and who loses what between two trees. Sorted by who.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessDelta {
    pub gained: Vec<Reach>,
    pub lost: Vec<Reach>,
}

impl AccessDelta {
    /// Compares what targets admit, which is the gate; dial tables follow from it.
    pub fn between<'p>(old: impl IntoIterator<Item = &'p Payload>, new: impl IntoIterator<Item = &'p Payload>) -> Self {
        let (old, new) = (reaches(old), reaches(new));
        Self { gained: new.difference(&old).cloned().collect(), lost: old.difference(&new).cloned().collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.gained.is_empty() && self.lost.is_empty()
    }
}

fn reaches<'p>(payloads: impl IntoIterator<Item = &'p Payload>) -> BTreeSet<Reach> {
    let mut out = BTreeSet::new();
    for payload in payloads {
        for row in &payload.ingress {
            for who in &row.allow {
                let target = row.target_spiffe_id.clone();
                out.insert(Reach { who: who.clone(), target, at: payload.node.clone() });
            }
        }
    }
    out
}

impl fmt::Display for AccessDelta {
    /// One line for each principal and direction: `+ user/mira gains service/ledger on pier3`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(out, "nobody gains or loses access");
        }
        for (sign, verb, reaches) in [('+', "gains", &self.gained), ('-', "loses", &self.lost)] {
            let mut by_principal: BTreeMap<&SpiffeId, Vec<String>> = BTreeMap::new();
            for reach in reaches {
                let target = format!("{} on {}", reach.target.subject(), reach.at);
                by_principal.entry(&reach.who).or_default().push(target);
            }
            for (who, targets) in by_principal {
                writeln!(out, "{sign} {} {verb} {}", who.subject(), targets.join(", "))?;
            }
        }
        Ok(())
    }
}
