use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use holdfast_format::{HEADER, decode_prefix, from_json, kind, to_json};
use iam_client::DecisionRecord;

const VERSION: u16 = 1;
const SUFFIX: &str = ".decisions";

/// One file of the log. Its name is its first sequence number, so that names sort like records.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    /// Of the last durable record; `first - 1` while there is none.
    pub(super) last: u64,
    /// Durable bytes of decisions and of denials.
    pub(super) bytes: Bytes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) decisions: u64,
    pub(super) denials: u64,
}

/// What reading a segment found.
#[derive(Default)]
pub(super) struct Content {
    pub(super) records: Vec<Arc<DecisionRecord>>,
    pub(super) bytes: Bytes,
    /// Up to here everything is whole.
    pub(super) valid: u64,
    /// Damaged stretches that whole records follow.
    pub(super) damaged: usize,
}

impl Bytes {
    pub(super) fn total(self) -> u64 {
        self.decisions + self.denials
    }

    pub(super) fn add(&mut self, record: &DecisionRecord, bytes: u64) {
        if record.outcome == "denied" {
            self.denials += bytes;
        } else {
            self.decisions += bytes;
        }
    }
}

impl Segment {
    pub(super) fn new(folder: &Path, first: u64) -> Self {
        let path = folder.join(format!("{first:020}{SUFFIX}"));
        Self { path, first, last: first.saturating_sub(1), bytes: Bytes::default() }
    }

    /// The segments in `folder`, oldest first, not read yet.
    pub(super) fn list(folder: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let first = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|first| first.parse().ok());
            found.extend(first.map(|first| Self::new(folder, first)));
        }
        found.sort_by_key(|segment| segment.first);
        Ok(found)
    }

    /// Opens for appending after `valid` bytes; what follows was never acknowledged and goes.
    pub(super) fn append_from(&self, valid: u64) -> io::Result<File> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        if file.metadata()?.len() > valid {
            file.set_len(valid)?;
        }
        // What an earlier life wrote and did not live to sync is only in the page cache, and is shipped from now on.
        file.sync_all()?;
        Ok(file)
    }

    pub(super) fn read(&self) -> io::Result<Content> {
        Ok(scan(&fs::read(&self.path)?))
    }
}

pub(super) fn encode(record: &DecisionRecord) -> Result<Vec<u8>, holdfast_format::Error> {
    to_json(kind::DECISION, VERSION, record)
}

/// Reads all whole records. A damaged stretch is skipped up to the next whole one: its sequence numbers are missing,
/// and that is how the loss is seen.
fn scan(bytes: &[u8]) -> Content {
    let mut content = Content::default();
    let mut at = 0;
    let mut damaged = false;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((record, length)) = whole(rest) else {
            damaged = true;
            at += 1;
            continue;
        };
        content.damaged += usize::from(std::mem::take(&mut damaged));
        content.bytes.add(&record, length as u64);
        content.records.push(Arc::new(record));
        at += length;
        content.valid = at as u64;
    }
    content
}

/// The record at the start of `bytes` and its length.
fn whole(bytes: &[u8]) -> Option<(DecisionRecord, usize)> {
    if bytes.len() < HEADER {
        return None;
    }
    let (_, rest) = decode_prefix(kind::DECISION, bytes).ok()?;
    let length = bytes.len() - rest.len();
    let record = from_json(kind::DECISION, VERSION, bytes.get(..length)?).ok()?;
    Some((record, length))
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn the_first_release_is_frozen() {
        let bytes = encode(&sample(7, "done")).unwrap();
        let payload = br#"{"sequence":7,"event_id":"e","time_ms":1,"principal":"user/mira","authenticated_by":"token","source":null,"token_id":null,"request_id":"r","action":"iam.TokenIssue","resource":"user/mira","outcome":"done","reason":null,"count":1}"#;
        assert_eq!(bytes, holdfast_format::encode(kind::DECISION, 1, payload));
    }

    #[test]
    fn damage_costs_only_what_it_hit() {
        let parts: Vec<_> = (1..=4).map(|number| encode(&sample(number, "done")).unwrap()).collect();
        let mut bytes = parts.concat();
        bytes[parts[0].len() + 20] ^= 1;
        bytes.extend_from_slice(&parts[0][..30]);
        let content = scan(&bytes);
        assert_eq!(content.records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!((content.damaged, content.valid), (1, parts.concat().len() as u64));
    }
}
