use std::{
    fs::{File, TryLockError},
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

    async fn wait(path: &Path) -> Result<Self, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = Self::at(path)? {
                return Ok(lock);
            }
            if Instant::now() >= until {
                return Err(Error::State("another flor command has been at work for too long".into()));
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

fn open(path: &Path) -> Result<File, Error> {
    if let Some(folder) = path.parent() {
        RealDisk.create_folder(folder, PRIVATE_FOLDER).map_err(|error| Error::file(folder, &error))?;
    }
    File::options().create(true).truncate(false).write(true).open(path).map_err(|error| Error::file(path, &error))
}
