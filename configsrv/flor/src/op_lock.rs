use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    Error,
    disk::{Disk as _, PRIVATE_FOLDER, RealDisk},
    home::Layout,
};

const PATIENCE: Duration = Duration::from_secs(120);
/// Whoever looks whether there is a daemon is in a starting one's way for a moment.
const LOOKERS: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(50);

/// The right to change this cluster's state on this machine; it ends with the value, and with the process.
pub(crate) struct OpLock(#[expect(dead_code, reason = "held, not read")] File);

impl OpLock {
    /// Waits for its turn. Whoever is at work is done soon: hooks have a time limit.
    pub(crate) async fn acquire(layout: &Layout) -> Result<Self, Error> {
        Self::wait(&layout.lock()).await
    }

    /// The right to take revocations, which wait for nothing else.
    pub(crate) async fn lane(layout: &Layout) -> Result<Self, Error> {
        Self::wait(&layout.lane_lock()).await
    }

    /// The place of the only daemon; `None` while another one has it.
    pub(crate) async fn daemon(layout: &Layout) -> Result<Option<Self>, Error> {
        Self::within(&layout.daemon_lock(), LOOKERS).await
    }

    /// Whether a daemon is there, whether or not it is reached.
    pub(crate) fn has_daemon(layout: &Layout) -> Result<bool, Error> {
        let path = layout.daemon_lock();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(|error| Error::file(&path, &error))?,
        };
        // Those who look do not take each other for one.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(Error::file(&path, &error)),
        }
    }

    async fn wait(path: &Path) -> Result<Self, Error> {
        let lock = Self::within(path, PATIENCE).await?;
        lock.ok_or_else(|| Error::State("another flor command has been at work for too long".into()))
    }

    async fn within(path: &Path, patience: Duration) -> Result<Option<Self>, Error> {
        let until = Instant::now() + patience;
        loop {
            if let Some(lock) = Self::at(path)? {
                return Ok(Some(lock));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            sleep(AGAIN).await;
        }
    }

    /// `None` while somebody else is at work.
    pub(crate) fn try_acquire(layout: &Layout) -> Result<Option<Self>, Error> {
        Self::at(&layout.lock())
    }

    fn at(path: &Path) -> Result<Option<Self>, Error> {
        open(path).and_then(|file| match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::file(path, &error)),
        })
    }
}

/// A file that is there is enough for a lock: a disk that became read-only keeps nobody from it.
fn open(path: &Path) -> Result<File, Error> {
    let writable = || File::options().create(true).truncate(false).write(true).open(path);
    let opened = match writable() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                RealDisk.create_folder(folder, PRIVATE_FOLDER).map_err(|error| Error::file(folder, &error))?;
            }
            writable()
        }
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(path),
        opened => opened,
    };
    opened.map_err(|error| Error::file(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_one_daemon_and_whoever_looks_sees_it() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(&folder.path().display().to_string());
        assert_eq!(OpLock::has_daemon(&layout), Ok(false), "nobody ever was here");
        let daemon = OpLock::daemon(&layout).await.unwrap();
        assert!(daemon.is_some());
        assert_eq!(OpLock::has_daemon(&layout), Ok(true));
        assert!(OpLock::daemon(&layout).await.unwrap().is_none());
        drop(daemon);
        assert_eq!(OpLock::has_daemon(&layout), Ok(false));
        assert!(OpLock::daemon(&layout).await.unwrap().is_some());
    }
}
