use std::collections::BTreeMap;

use super::Verdict;
use crate::types::Entry;

/// Log matching: entries of the same index and term are the same, and so is everything before them; what one server has
/// applied at an index, all apply there.
#[derive(Debug, Default)]
pub(in crate::sim) struct LogMatching {
    applied: BTreeMap<u64, (u64, String)>,
}

impl LogMatching {
    pub(in crate::sim) fn applies(&mut self, entry: &Entry) -> Verdict {
        let found = (entry.log_id.leader_id.term, said(entry));
        let known = self.applied.entry(entry.log_id.index).or_insert_with(|| found.clone());
        if *known == found {
            return Ok(());
        }
        Err(format!(
            "log matching: entry {} was applied as of term {}, and now as of term {}",
            entry.log_id.index, known.0, found.0
        ))
    }

    /// Compares the logs that the servers have on their disks at the end.
    pub(in crate::sim) fn compare(&self, logs: &[Vec<Entry>]) -> Verdict {
        for (at, one) in logs.iter().enumerate() {
            for other in &logs[at + 1..] {
                agree(one, other)?;
            }
        }
        Ok(())
    }
}

/// Below the last entry that two logs share, they must share all that both still have.
fn agree(one: &[Entry], other: &[Entry]) -> Verdict {
    let other: BTreeMap<u64, &Entry> = other.iter().map(|entry| (entry.log_id.index, entry)).collect();
    let mut shared = false;
    for entry in one.iter().rev() {
        let Some(same) = other.get(&entry.log_id.index) else { continue };
        if same.log_id == entry.log_id {
            shared = true;
        }
        if shared && (same.log_id != entry.log_id || said(same) != said(entry)) {
            return Err(format!("log matching: entry {} differs below a common one", entry.log_id.index));
        }
    }
    Ok(())
}

fn said(entry: &Entry) -> String {
    match &entry.payload {
        openraft::EntryPayload::Normal(command) => hex::encode(&command.0),
        other => format!("{other:?}"),
    }
}
