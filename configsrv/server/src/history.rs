//! What the history says of a publish beside who, when and which version.

use std::sync::Arc;

use async_trait::async_trait;
use chainfire_client::{JournalSource, StoreError};
use chainfire_core::journal::{JournalPosition, JournalRecord, Outcome};
use tokio::sync::watch;

use crate::{
    ConfigService, keys,
    publish::{PUBLISH, VERSIONS},
    record::Tree,
    store::Records,
};

/// Characters of a commit and of a note that a row of the history shows; `GET /versions/N` has the whole.
const LONGEST_COMMIT: usize = 100;
const LONGEST_NOTE: usize = 500;

/// The journal, with a reason at every publish. The log has no place for it; but the version's line of history comes
/// into being in the same transaction and stays as it is, so whoever reads the journal finds the same at any time.
struct Explained {
    journal: Arc<dyn JournalSource>,
    records: Records,
}

impl ConfigService {
    /// `journal` with a reason at every publish that was done: the digest of the tree, the version that it was made
    /// from, and the git commit and the note where the operator gave them.
    pub fn explain(&self, journal: Arc<dyn JournalSource>) -> Arc<dyn JournalSource> {
        Arc::new(Explained { journal, records: self.records().clone() })
    }
}

#[async_trait]
impl JournalSource for Explained {
    fn read(&self, after: Option<JournalPosition>, limit: usize) -> Result<Vec<JournalRecord>, StoreError> {
        let mut records = self.journal.read(after, limit)?;
        for record in records.iter_mut().filter(|record| record.action == PUBLISH && record.outcome == Outcome::Done) {
            record.reason = self.published(&record.resource).as_ref().map(in_words);
        }
        Ok(records)
    }

    async fn shipped(&self, upto: JournalPosition) -> Result<(), StoreError> {
        self.journal.shipped(upto).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.journal.changes()
    }
}

impl Explained {
    /// What was published as `resource`. A damaged record keeps nothing out of the history.
    fn published(&self, resource: &str) -> Option<Tree> {
        let version = resource.strip_prefix(VERSIONS)?.parse().ok()?;
        self.records.value(&keys::tree(version)).unwrap_or_else(|error| {
            tracing::warn!(?error, resource, "a publish goes into the history without what was published");
            None
        })
    }
}

fn in_words(tree: &Tree) -> String {
    let mut words = format!("tree {}; made from version {}", tree.tree_digest, tree.base_version);
    if let Some(commit) = &tree.git_commit {
        words += &format!("; git commit {}", shown(commit, LONGEST_COMMIT));
    }
    // Last, since it may say anything.
    if let Some(note) = &tree.note {
        words += &format!("; note: {}", shown(note, LONGEST_NOTE));
    }
    words
}

/// The beginning of `text`, on one line and without anything that steers a terminal.
fn shown(text: &str, longest: usize) -> String {
    let begin: String = text.chars().take(longest).collect();
    let more = if begin.len() < text.len() { "..." } else { "" };
    begin.replace(char::is_control, " ") + more
}

#[cfg(test)]
mod tests {
    use configsrv_fleet::{Digest, Version};

    use super::*;

    #[test]
    fn what_was_published_is_short_and_on_one_line() {
        let mut tree = Tree {
            version: Version::new(7).unwrap(),
            set: Digest::of(b"set"),
            tree_digest: Digest::of(b"tree"),
            base_version: Version::new(6).unwrap(),
            nodes: 1,
            published_ms: 9,
            published_by: "user/mira".into(),
            note: None,
            git_commit: None,
            pruned: false,
        };
        let plain = format!("tree {}; made from version 6", Digest::of(b"tree"));
        assert_eq!(in_words(&tree), plain);
        tree.git_commit = Some("4f2a\n1b".into());
        tree.note = Some("open\u{1b}[2J the shop\0".into());
        assert_eq!(in_words(&tree), format!("{plain}; git commit 4f2a 1b; note: open [2J the shop "));
        tree.git_commit = Some("f".repeat(LONGEST_COMMIT + 1));
        tree.note = Some("\u{fc}".repeat(LONGEST_NOTE + 1));
        let (commit, note) = ("f".repeat(LONGEST_COMMIT), "\u{fc}".repeat(LONGEST_NOTE));
        assert_eq!(in_words(&tree), format!("{plain}; git commit {commit}...; note: {note}..."));
        tree.note = Some(note.clone());
        assert!(in_words(&tree).ends_with(&note));
    }
}
