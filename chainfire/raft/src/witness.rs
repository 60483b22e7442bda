//! Whether the log still has everything that was synced.
//!
//! RocksDB notices when a file that it has closed is gone, but not when the newest one is: then the log just ends
//! earlier, and votes and entries that were acknowledged are forgotten. So the log and the identity file, which lies
//! outside of the log's folder, hold the same number, which grows at every start and now and then. The log has it first,
//! on disk; where the identity knows a later one than the log, synced parts of the log are gone.

use std::{sync::Arc, time::Duration};

use holdfast_service::Stop;
use tokio::time::sleep;

use crate::{Error, FatalHook, error::DAMAGED, genesis::Known, log::LogDb};

/// What can go unnoticed when files of a log that is in use are taken away.
const EVERY: Duration = Duration::from_secs(30);

/// Refuses a log that is older than the identity, and marks both. A server that was never part of a cluster has
/// acknowledged nothing.
pub(crate) fn check(known: &Known, log: &LogDb) -> Result<(), Error> {
    let found = log.mark().map_err(Error::io(log.path()))?;
    if known.formed().is_some() && found < known.mark() {
        let message = format!(
            "the newest part of the Raft log is missing: files in this folder were deleted or replaced by older ones \
             (the log is at mark {found}, this server has noted {}). {DAMAGED}",
            known.mark()
        );
        return Err(Error::Corrupt { path: log.path().to_owned(), message });
    }
    advance(known, log)
}

fn advance(known: &Known, log: &LogDb) -> Result<(), Error> {
    let found = log.mark().map_err(Error::io(log.path()))?;
    let next = found.max(known.mark()) + 1;
    log.set_mark(next).map_err(Error::io(log.path()))?;
    known.note_mark(next)
}

/// Marks the log again while it grows.
pub(crate) async fn run(known: Arc<Known>, log: Arc<LogDb>, fatal: FatalHook, closing: Stop) {
    let mut marked = log.written();
    loop {
        tokio::select! {
            () = closing.requested() => return,
            () = sleep(EVERY) => {}
        }
        if log.written() == marked {
            continue;
        }
        let (own, marking) = (Arc::clone(&known), Arc::clone(&log));
        match tokio::task::spawn_blocking(move || advance(&own, &marking)).await {
            Ok(Ok(())) => marked = log.written(),
            // Like every failure to write: what is on disk is not known any more.
            Ok(Err(error)) => return fatal.call(&format!("the log cannot be marked: {error}")),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Cluster, network::FormedV1};

    fn open(folder: &std::path::Path) -> Result<(Known, LogDb), Error> {
        let known = Known::open(folder, Cluster::single("a", "a:2380"), "a")?;
        let log = LogDb::open(&folder.join("log"), FatalHook::default())?;
        check(&known, &log).map(|()| (known, log))
    }

    fn lose_newest(folder: &std::path::Path) {
        let files = fs::read_dir(folder.join("log")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).for_each(|path| {
            fs::remove_file(path).unwrap();
        });
    }

    #[test]
    fn a_log_without_its_newest_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (known, log) = open(folder.path()).unwrap();
        drop(log);
        // Nothing was acknowledged before there was a cluster.
        lose_newest(folder.path());
        let log = open(folder.path()).unwrap().1;
        known.form(&FormedV1 { cluster: [1; 16], members: vec![known.id().to_u64()] }).unwrap();
        drop(log);
        drop(open(folder.path()).unwrap());
        lose_newest(folder.path());
        let error = open(folder.path()).err().unwrap();
        let text = error.to_string();
        assert!(matches!(error, Error::Corrupt { .. }) && text.contains("the newest part of the Raft log"), "{text}");
        assert!(text.contains("restore-and-rejoin.md"), "{text}");
    }

    #[test]
    fn a_log_is_one_processs() {
        let folder = tempfile::tempdir().unwrap();
        let _first = open(folder.path()).unwrap();
        let error = open(folder.path()).err().unwrap();
        assert!(error.to_string().ends_with("log: another process uses this folder"), "{error}");
    }
}
