use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use holdfast_format::{HEADER, decode_prefix, from_json, kind, to_json};
use iam_client::DecisionRecord;

use crate::files;

const VERSION: u16 = 1;
const SUFFIX: &str = ".decisions";
/// What a file is called that somebody put in the place of a segment.
const FOREIGN: &str = "foreign";

/// One file of the log. Its name is its first sequence number, so that names sort like records.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    /// Of the last durable record; `first - 1` while there is none.
    pub(super) last: u64,
    /// Durable bytes of decisions and of denials.
    pub(super) bytes: Bytes,
    /// Where the last durable record ends in the file.
    pub(super) end: u64,
    /// What was opened at the path. Records are read from it and written to it, whatever becomes of the path.
    file: Arc<File>,
}

/// Why records have not reached the disk.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// What is in the file behind the last durable record is known to be of no worth.
    #[error(transparent)]
    Write(io::Error),
    /// What is in the file behind it is unknown.
    #[error(transparent)]
    Sync(io::Error),
}

/// What has become of a file that nobody but this server may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    InPlace,
    Deleted,
    /// Another file has its name.
    Replaced,
    /// Durable bytes are gone from its end.
    Cut,
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
    /// A new, empty one.
    pub(super) fn create(folder: &Path, first: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let segment = Self::open(path(folder, first), first, true)?;
        segment.file.set_len(0)?;
        Ok(segment)
    }

    /// The segments in `folder`, oldest first, not read yet.
    pub(super) fn list(folder: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let first = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|first| first.parse().ok());
            if let Some(first) = first {
                found.push(Self::open(path(folder, first), first, false)?);
            }
        }
        found.sort_by_key(|segment| segment.first);
        Ok(found)
    }

    /// What is in the file belongs to the segment, or will.
    fn open(path: PathBuf, first: u64, create: bool) -> io::Result<Self> {
        let file = Arc::new(OpenOptions::new().read(true).append(true).create(create).open(&path)?);
        Ok(Self { path, first, last: first.saturating_sub(1), bytes: Bytes::default(), end: 0, file })
    }

    /// For appending after the last durable record; what follows was never acknowledged and goes.
    pub(super) fn trim(&self) -> io::Result<()> {
        if self.file.metadata()?.len() > self.end {
            self.file.set_len(self.end)?;
        }
        // What an earlier life wrote and did not live to sync is only in the page cache, and is shipped from now on.
        self.file.sync_all()
    }

    pub(super) fn append(&self, frames: &[u8]) -> Result<(), Failure> {
        (&*self.file).write_all(frames).map_err(Failure::Write)?;
        self.file.sync_data().map_err(Failure::Sync)
    }

    pub(super) fn read(&self) -> io::Result<Content> {
        Ok(scan(&self.frames()?))
    }

    fn frames(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.file.metadata()?.len()).map_err(io::Error::other)?;
        let mut frames = vec![0; length];
        self.file.read_exact_at(&mut frames, 0)?;
        Ok(frames)
    }

    pub(super) fn fate(&self) -> io::Result<Fate> {
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fate::Deleted),
            Err(error) => return Err(error),
        };
        let own = self.file.metadata()?;
        Ok(if (found.dev(), found.ino()) != (own.dev(), own.ino()) {
            Fate::Replaced
        } else if own.len() < self.end {
            Fate::Cut
        } else {
            Fate::InPlace
        })
    }

    /// Puts a file with the same records at the path; what lies there stays beside it.
    pub(super) fn write_anew(&mut self) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        if fs::symlink_metadata(&self.path).is_ok() {
            fs::rename(&self.path, self.path.with_extension(FOREIGN))?;
        }
        files::replace(&self.path, &self.frames()?)?;
        self.file = Self::open(self.path.clone(), self.first, false)?.file;
        Ok(())
    }
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
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
