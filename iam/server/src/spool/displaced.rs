//! Files of the log that somebody deletes, replaces or cuts while the server runs. They are held open, so that what is
//! deleted can be written anew; what is cut is lost, and said to be.

use std::{collections::BTreeSet, io, path::PathBuf};

use super::{
    log::Log,
    segment::{Fate, Segment},
};

/// What was found so far.
#[derive(Default)]
pub(super) struct Displaced {
    files: u64,
    /// About the latest one.
    words: Option<String>,
    /// Files that could not be written anew yet.
    waiting: BTreeSet<PathBuf>,
}

impl Displaced {
    pub(super) fn count(&self) -> u64 {
        self.files
    }

    /// For the server's status.
    pub(super) fn warning(&self) -> Option<String> {
        let words = self.words.as_ref()?;
        Some(format!(
            "files of the decision log were touched by somebody else, {} since the start: {words}",
            self.files
        ))
    }
}

impl Log {
    /// Whether the newest file is where it was made.
    pub(super) fn is_in_place(&self) -> bool {
        self.segments.last().is_none_or(|segment| matches!(segment.fate(), Ok(Fate::InPlace)))
    }

    /// Looks after every file, and says what is new. After a loss a new file begins.
    pub(super) fn keep_files(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let newest = self.segments.len().saturating_sub(1);
        for (index, segment) in self.segments.iter_mut().enumerate() {
            let (path, shown) = (segment.path.clone(), segment.path.display().to_string());
            let fate = segment.fate();
            if matches!(fate, Ok(Fate::InPlace)) {
                continue;
            }
            self.sealed |= index == newest;
            let (is_new, words) = match fate.and_then(|fate| segment.mend(fate)) {
                Ok(words) => (!self.displaced.waiting.remove(&path), format!("{shown} {words}")),
                Err(error) => {
                    let words =
                        format!("{shown} is lost with the next stop, because it cannot be written anew: {error}");
                    (self.displaced.waiting.insert(path), words)
                }
            };
            self.displaced.words = Some(words.clone());
            if is_new {
                self.displaced.files += 1;
                found.push(words);
            }
        }
        match self.keep_cursor() {
            Ok(false) => {}
            Ok(true) => {
                let words = "the file of its position was deleted, and is written anew".to_owned();
                self.displaced.words = Some(words.clone());
                self.displaced.files += 1;
                found.push(words);
            }
            Err(error) => tracing::warn!(%error, "the position in the decision log cannot be kept"),
        }
        found
    }
}

impl Segment {
    /// Makes good what can be made good, and says what happened.
    fn mend(&mut self, fate: Fate) -> io::Result<String> {
        Ok(match fate {
            Fate::InPlace => "is in its place".to_owned(),
            Fate::Deleted => {
                self.write_anew()?;
                "was deleted; its records are written anew".to_owned()
            }
            Fate::Replaced => {
                self.write_anew()?;
                "was replaced; its records are written anew, and what was put there is beside them".to_owned()
            }
            Fate::Cut => {
                let left = self.read()?;
                (self.bytes, self.end) = (left.bytes, left.valid);
                let last = left.records.last().map_or(self.first.saturating_sub(1), |record| record.sequence);
                format!("was cut; its records from {} to {} are lost unless they are shipped", last + 1, self.last)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        path::Path,
    };

    use uuid::Uuid;

    use super::{
        super::{Budget, log, sample},
        *,
    };

    fn open(folder: &Path) -> Log {
        Log::open(folder, Budget { decisions: 1 << 30, denials: 1 << 30 }, Uuid::from_u128(1)).unwrap()
    }

    /// With records 1 to 9000, in three files.
    fn filled(folder: &Path) -> Log {
        let mut log = open(folder);
        for _ in 0..3 {
            let record = iam_client::DecisionRecord { resource: "x".repeat(200), ..sample(0, "done") };
            log.append(&mut vec![record; 3000]).unwrap();
        }
        log
    }

    fn sequences(log: &Log) -> Vec<u64> {
        let found = log::read(&log.segments, 0, 100_000).unwrap();
        found.iter().map(|record| record.sequence).collect()
    }

    #[test]
    fn what_is_deleted_or_replaced_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = filled(folder.path());
        assert_eq!((log.keep_files(), log.status().displaced_files), (Vec::new(), 0));
        let (old, newest) = (log.segments[0].path.clone(), log.segments[2].path.clone());
        fs::remove_file(&old).unwrap();
        fs::rename(&newest, folder.path().join("away")).unwrap();
        fs::write(&newest, b"nothing happened").unwrap();
        assert_eq!(sequences(&log).len(), 9000, "it is held open");
        let found = log.keep_files();
        assert!(found[0].contains("was deleted") && found[1].contains("was replaced"), "{found:?}");
        assert_eq!((found.len(), log.keep_files()), (2, Vec::new()));
        assert!(log.displaced.warning().unwrap().contains("2 since the start"));
        assert_eq!(fs::read(newest.with_extension("foreign")).unwrap(), b"nothing happened");

        log.append(&mut [sample(0, "done")]).unwrap();
        assert_eq!(log.segments.len(), 4, "writing goes on in a new file");
        drop(log);
        assert_eq!(sequences(&open(folder.path())), (1..=9001).collect::<Vec<_>>());
    }

    #[test]
    fn the_whole_folder_may_go() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("decisions");
        let mut log = filled(&inner);
        log.shipped(3500).unwrap();
        fs::remove_dir_all(&inner).unwrap();
        assert_eq!(log.keep_files().len(), 3, "two files and the position");
        let before = log.status();
        drop(log);
        let log = open(&inner);
        assert_eq!((log.status().shipped, log.status().newest), (before.shipped, before.newest));
        assert_eq!(sequences(&log), (3001..=9000).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_is_cut_is_told_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = filled(folder.path());
        let newest = OpenOptions::new().write(true).open(&log.segments[2].path).unwrap();
        newest.set_len(0).unwrap();
        let found = log.keep_files();
        assert!(found[0].contains("records from 6001 to 9000 are lost"), "{found:?}");
        assert_eq!((found.len(), log.keep_files()), (1, Vec::new()));
        log.append(&mut [sample(0, "done")]).unwrap();
        drop(log);
        assert_eq!(sequences(&open(folder.path())), (1..=6000).chain([9001]).collect::<Vec<_>>(), "the gap is seen");
    }

    #[test]
    fn what_is_shipped_may_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = filled(folder.path());
        fs::remove_file(&log.segments[0].path).unwrap();
        log.shipped(4000).unwrap();
        assert_eq!((log.keep_files(), log.status().shipped), (Vec::new(), 4000));
    }

    #[test]
    fn an_empty_file_that_is_deleted_is_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = filled(folder.path());
        log.sealed = true;
        log.append(&mut []).unwrap();
        let newest = log.segments[3].path.clone();
        fs::remove_file(&newest).unwrap();
        assert_eq!(log.keep_files().len(), 1);
        log.append(&mut [sample(0, "done")]).unwrap();
        assert_eq!((log.segments.len(), log.segments[3].path.clone()), (4, newest));
        drop(log);
        assert_eq!(sequences(&open(folder.path())), (1..=9001).collect::<Vec<_>>());
    }
}
